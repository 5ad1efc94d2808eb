"""Runs of the command line: undisturbed, or killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class Run:
    """The last of its processes. rows: of --json; kills: that came before it; words: the last on
    stderr; peak_mb: most resident memory of the process with all its children, where measured."""

    code: int
    rows: list[dict[str, Any]]
    seconds: float
    kills: int
    words: str
    peak_mb: float | None = None


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


def run_measured(words: Sequence[str], *, limit_s: float) -> Run:
    """Let alone, and its memory looked at fifty times a second.

    Pages that processes share are counted for each of them, and their peaks as if they came
    together: the true peak is lower. Raises AssertionError after limit_s.
    """
    started = time.perf_counter()
    peak = 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "restora", *words],
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _resident(seen))
            if time.perf_counter() - started > limit_s:
                _kill(process)
                raise AssertionError(f"an end within {limit_s:g} s")
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        for stream in (out, err):
            stream.seek(0)
        rows, said = _rows(out.read(), err.read())
    return Run(process.returncode, rows, seconds, 0, said[-500:], peak / 1e6)


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
        [sys.executable, "-m", "restora", *words], capture_output=True, check=False
    )
    rows, said = _rows(done.stdout, done.stderr)
    return Run(done.returncode, rows, time.perf_counter() - started, kills, said[-500:])


def _rows(out: bytes, err: bytes) -> tuple[list[dict[str, Any]], str]:
    """Names of files may be no UTF-8."""
    said = err.decode(errors="replace")
    lines = out.decode(errors="surrogateescape").split("\n")
    try:
        rows = [json.loads(line) for line in lines if line]
    except ValueError as error:
        raise AssertionError(f"rows of JSON; found: {lines[-3:]}{said}") from error
    if not rows:
        raise AssertionError(f"rows; found: {said}")
    return rows, said


def _resident(process: psutil.Process) -> int:
    """The sum over the processes that live of the most that each has ever held, as Linux knows it;
    elsewhere of what each holds."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error, OSError):  # it has ended meanwhile
                total += _peak_of(one.pid) or one.memory_info().rss
    return total


def _peak_of(pid: int) -> int | None:
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return 1024 * int(lines["VmHWM"].split()[0]) if "VmHWM" in lines else None


def _count(folder: Path) -> int:
    return sum(path.is_file() for path in folder.iterdir()) if folder.exists() else 0
