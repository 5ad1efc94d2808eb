"""Open a video in a child process first, and watch its memory: a few bytes of a hostile file can
make FFmpeg allocate gigabytes.

A limit of the address space is not enough: FFmpeg continues after some failed allocations, and the
file would pass.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from restora.child import Child
from restora.errors import DecoderProcessError, VideoError

# frames of 7680 x 4320 take 80 MB until their format is known; indexes grow with the file
SLACK_BYTES, FILE_COPIES = 128 << 20, 4
_SERVE = "restora.video.trial_child:serve"
_STARTS = 3
_MAX_S = 120.0
_LOOK_S = 0.004  # a process can fill some 30 MB in that time
_WORN_BYTES = 32 << 20  # a child that once grew so much is replaced
_MAX_PASSED = 64


class Trial(NamedTuple):
    """A request to the child.

    path: absolute
    name: of the file in messages
    max_pixels: of a frame
    timeout_s: for opening, and for each packet
    """

    path: str
    name: str
    max_pixels: int
    timeout_s: float


class Verdict(NamedTuple):
    """problem: why the file must not be opened; None if it may be
    peak: largest resident size of the child so far, bytes
    """

    problem: str | None
    peak: int


def require_openable(path: Path, *, max_pixels: int, timeout_s: float) -> None:
    """Raise VideoError if opening the file fails, or if that or reading its packets takes far more
    memory than its size explains; DecoderProcessError if no child process can be started.

    A file that passed is not tried again in this process as long as it does not change.
    """
    trial = Trial(os.path.abspath(path), str(path), max_pixels, timeout_s)  # noqa: PTH100
    stamp, size = _stamp_of(path)
    with _lock:
        if _passed.get(trial.path) == stamp:
            return
        problem = _try(trial, SLACK_BYTES + FILE_COPIES * size)
        if problem is not None:
            raise VideoError(problem)
        while len(_passed) >= _MAX_PASSED:
            del _passed[next(iter(_passed))]
        _passed[trial.path] = stamp


_lock = threading.Lock()
_passed: dict[str, tuple[int, ...]] = {}
_children: list[Child] = []


def _try(trial: Trial, allowed: int) -> str | None:
    """Returns why the file must not be opened, or None."""
    for _ in range(_STARTS):
        child = _children.pop() if _children else Child(_SERVE)
        try:
            child.connection.send(trial)
            started: int = child.connection.recv()
        except (EOFError, OSError):
            child.kill()
            continue  # it had been idle for long, and ended
        except BaseException:
            child.kill()
            raise
        return _watch(child, trial, started, allowed)
    raise DecoderProcessError("processes that open videos end before they begin")


def _watch(child: Child, trial: Trial, started: int, allowed: int) -> str | None:
    """started: resident size of the child in bytes, before it opened the file"""
    too_much = (
        f"{trial.name} cannot be read as a video: opening it takes more than {allowed >> 20} MB, "
        "which its size does not explain"
    )
    keep = False
    end = time.monotonic() + _MAX_S
    try:
        while not child.connection.poll(_LOOK_S):
            if _resident(child.process.pid) - started > allowed:
                return too_much
            if time.monotonic() > end:
                return f"{trial.name} takes longer than {_MAX_S:.0f} s to open"
        verdict: Verdict = child.connection.recv()
        keep = verdict.peak - started < _WORN_BYTES  # later peaks can be told from this one
        return too_much if verdict.peak - started > allowed else verdict.problem
    except (EOFError, OSError):
        return f"{trial.name} is damaged: FFmpeg crashes on it"
    finally:
        if keep:
            _children.append(child)
        else:
            child.kill()


def _resident(process: int) -> int:
    """Bytes; 0 where there is no /proc, or the process has ended."""
    with contextlib.suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")
    return 0


def _stamp_of(path: Path) -> tuple[tuple[int, ...], int]:
    """Values that change when the file does, and its size in bytes."""
    try:
        now = path.stat()
    except (OSError, ValueError) as error:
        raise VideoError(f"{path} cannot be read: {error}") from error
    stamp = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    return stamp, now.st_size


def _close() -> None:
    while _children:
        _children.pop().kill()


def _forget() -> None:
    """In a forked process: children belong to the parent, which may have held the lock."""
    global _lock
    _lock = threading.Lock()
    _children.clear()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
