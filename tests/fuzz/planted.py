"""Targets with a known fault, and one without: whether the fuzzer finds what it should."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from fuzz.mutate import mutate_bytes
from fuzz.target import Input, Target

_LARGE = 64 << 20


def _raise() -> None:
    raise KeyError("planted")


def _grow() -> None:
    assert len(bytearray(b"\1" * _LARGE)) == _LARGE


def _die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang() -> None:
    time.sleep(60)


def _work() -> None:
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass


def _planted(fault: Callable[[], None] | None) -> Target:
    def check(path: Path) -> str:
        data = path.read_bytes()
        if fault is not None and data[:1] != b"s" and data:
            fault()
        return "good" if data else "empty"

    return Target(_make_seeds, _mutate, check, cpu_s=0.1, wall_s=0.3, memory_mb=32)


def _make_seeds() -> dict[str, Input]:
    return {"seed": Input(".txt", b"seed")}


def _mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    return Input(one.ending, mutate_bytes(one.data, rng, [other.data for other in others]))


EXCEPTION, MEMORY, DEATH, HANG, TIME = map(_planted, (_raise, _grow, _die, _hang, _work))
CLEAN = _planted(None)
