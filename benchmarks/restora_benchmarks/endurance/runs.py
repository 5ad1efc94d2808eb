"""A run of the command line that is let alone, or killed on its way and begun again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Run:
    """The last of its processes. rows: of --json; kills: that came before it; words: the last on
    stderr."""

    code: int
    rows: list[dict[str, Any]]
    seconds: float
    kills: int
    words: str


def run_killed_at(words: Sequence[str], output: Path, marks: Sequence[int]) -> Run:
    """Killed (SIGKILL, with all its children) when `output` holds so many files, then once more
    until it ends by itself."""
    started = time.perf_counter()
    kills = 0
    for mark in marks:
        process = _start(words)
        while process.poll() is None and _count(output) < mark:
            time.sleep(0.02)
        kills += _kill(process)
    return _finish(words, started, kills)


def run_killed_at_random(
    words: Sequence[str], *, kills: int, seconds: tuple[float, float], seed: int
) -> Run:
    """The same, each process killed after a random time; seconds: least and most."""
    started = time.perf_counter()
    rng = random.Random(seed)  # noqa: S311
    done = 0
    for _ in range(kills):
        process = _start(words)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(*seconds))
        done += _kill(process)
    return _finish(words, started, done)


def _start(words: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "restora", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[bytes]) -> int:
    """1, or 0 if it had ended already."""
    if process.poll() is not None:
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return 1


def _finish(words: Sequence[str], started: float, kills: int) -> Run:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "restora", *words], capture_output=True, text=True, check=False
    )
    try:
        rows = [json.loads(line) for line in done.stdout.splitlines()]
    except ValueError as error:
        raise AssertionError(f"rows of JSON; found: {done.stdout[-500:]}{done.stderr}") from error
    if not rows:
        raise AssertionError(f"rows; found: {done.stderr}")
    return Run(done.returncode, rows, time.perf_counter() - started, kills, done.stderr[-500:])


def _count(folder: Path) -> int:
    return sum(path.is_file() for path in folder.iterdir()) if folder.exists() else 0
