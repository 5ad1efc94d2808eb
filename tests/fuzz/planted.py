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


def _planted(
    fault: Callable[[], None] | None, *, cpu_s: float = 60.0, wall_s: float = 60.0
) -> Target:
    def check(path: Path) -> str:
        data = path.read_bytes()
        if fault is not None and data and data[:1] != b"s":
            fault()
        return "good" if data else "empty"

    return Target(_make_seeds, _mutate, check, cpu_s=cpu_s, wall_s=wall_s, memory_mb=32)


def _make_seeds() -> dict[str, Input]:
    return {"seed": Input(".txt", b"seed")}


def _mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    return Input(one.ending, mutate_bytes(one.data, rng, [other.data for other in others]))


EXCEPTION, MEMORY, DEATH = map(_planted, (_raise, _grow, _die))
TIME = _planted(_work, cpu_s=0.1)
HANG = _planted(_hang, wall_s=0.2)
CLEAN = _planted(None)
