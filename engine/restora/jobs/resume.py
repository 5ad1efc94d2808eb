"""Decide whether an input needs work."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from restora.jobs.blame import MAX_CRASHES
from restora.jobs.disk import Stamp, digest_of_file, fingerprint
from restora.jobs.records import InputRecord, Result

# limits decide over these; they are no part of a recipe and may differ in a later run
_RECHECKED = {"ImageTooLargeError", "FileTooLargeError", "MemoryLimitError", "DecodeTimeoutError"}
Action = Literal["do", "redo", "leave", "refuse", "failed", "quarantined"]
Asked = Literal["compare", "faces", "mask"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A requested result.

    target: its path
    recipe: hash of its settings
    source: absolute path of the input; stamp: stamp of the input now
    asked: what is requested beside it
    extras: existing files in the place of what is requested beside it; missing: whether one of
        them does not exist
    changed_ns: change time of the input by the system's record; None: not known
    """

    target: Path
    recipe: str
    stamp: Stamp
    source: str | None = None
    asked: frozenset[Asked] = frozenset()
    extras: Sequence[Path] = ()
    missing: bool = False
    changed_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with an input.

    action: "do" and "redo": restore it; "leave": it is done; "refuse": another file lies in the
        result's place; "failed" and "quarantined": it counts as failed without being tried
    alone: nothing else may be in flight with it: it may crash the process
    finished: the last run was killed after it wrote the result, before it recorded that
    why: the reason, for people
    """

    action: Action
    why: str = ""
    alone: bool = False
    finished: bool = False


def decide(
    past: InputRecord | None, wanted: Wanted, *, overwrite: bool = False, retry_failed: bool = False
) -> Decision:
    """Decide whether an input needs work.

    past: what the journal knows of it

    A file that the journal does not know as the result of this very input, or that changed since,
    is never replaced without `overwrite`. A result of another recipe, or of an input that changed,
    is made again.
    """
    worked = past if past is not None and _is_same_work(past, wanted) else None
    alone = past is not None and past.crash_suspect and past.stamp == wanted.stamp
    if worked is not None and not overwrite and not retry_failed:
        if worked.crashes >= MAX_CRASHES:
            return quarantine(worked.crashes)
        if worked.status == "failed" and worked.error_type not in _RECHECKED:
            return Decision("failed", f"failed before: {worked.reason}; --retry-failed tries again")
    if overwrite:
        return Decision("do", alone=alone)
    result = past.result if past is not None else None
    if result is not None and Path(result.output).name != wanted.target.name:
        result = None
    stranger = next((path for path in wanted.extras if not _is_ours(path, wanted, result)), None)
    if not os.path.lexists(wanted.target):
        return _refuse(stranger) if stranger is not None else Decision("do", alone=alone)
    if not stat.S_ISREG(wanted.target.lstat().st_mode):
        return _refuse(wanted.target)
    if worked is not None and _was_finished(worked, wanted, result):
        return Decision("leave", "already done", finished=True)
    if result is None:
        return _refuse(wanted.target)
    return _decide_over_result(past, result, wanted, stranger, alone=alone)


def quarantine(crashes: int) -> Decision:
    return Decision(
        "quarantined",
        f"quarantined: {crashes} processes crashed while it was restored; "
        "--retry-failed tries it again",
    )


def _decide_over_result(
    past: InputRecord | None, result: Result, wanted: Wanted, stranger: Path | None, *, alone: bool
) -> Decision:
    """Decide over a file that an earlier run wrote, under the same name."""
    assert past is not None
    touched = not is_untouched(wanted.target, result)
    other_path = None not in (result.source, wanted.source) and result.source != wanted.source
    moved = other_path and _holds(wanted.source, result.source_sha256)
    if other_path and not moved:
        return Decision(
            "refuse",
            f"{wanted.target} was made from another input, {result.source}: give another output "
            "folder, or --overwrite to replace it",
        )
    same_input = moved or _is_same_input(past, result, wanted)
    if touched:
        why = f"{wanted.target} was changed since it was made; --overwrite replaces it"
        return Decision("leave" if same_input else "refuse", why)
    if same_input and past.status == "restored" and past.recipe == wanted.recipe:
        if wanted.asked <= result.asked and not wanted.missing:
            return Decision("leave", "already done")
        why = "what is written beside the result was missing"
    else:
        why = "made with other settings or from another input"
    return _refuse(stranger) if stranger is not None else Decision("redo", why, alone=alone)


def _refuse(path: Path) -> Decision:
    return Decision(
        "refuse",
        f"{path} exists already and was not made from this input by an earlier run: give another "
        "output folder or a --suffix, or --overwrite to replace it",
    )


def _is_same_work(past: InputRecord, wanted: Wanted) -> bool:
    if (past.recipe, past.stamp) != (wanted.recipe, wanted.stamp):
        return False
    return None in (past.source, wanted.source) or past.source == wanted.source


def _is_same_input(past: InputRecord, result: Result, wanted: Wanted) -> bool:
    """Compare by more than size and modification time: programs can copy both."""
    if past.stamp != wanted.stamp:
        return False
    if None in (past.changed_ns, wanted.changed_ns) or past.changed_ns == wanted.changed_ns:
        return True
    return _holds(wanted.source, result.source_sha256)


def _was_finished(worked: InputRecord, wanted: Wanted, result: Result | None) -> bool:
    """Whether the process was killed after it wrote the result, before it recorded that."""
    if not worked.open:
        return False
    if worked.known:
        return fingerprint(wanted.target) != worked.found
    return result is None or digest_of_file(wanted.target) != result.sha256


def is_untouched(path: Path, result: Result) -> bool:
    return fingerprint(path) == result.stamp or digest_of_file(path) == result.sha256


def _is_ours(path: Path, wanted: Wanted, result: Result | None) -> bool:
    known = dict(result.extras) if result is not None else {}
    name = extra_name(path, wanted.target)
    return name in known and _holds(str(path), known[name])


def extra_name(path: Path, target: Path) -> str:
    """The name of a file beside a result in the journal: its path from the result's folder."""
    return Path(os.path.relpath(path, target.parent)).as_posix()


def _holds(path: str | None, sha256: str | None) -> bool:
    if path is None or sha256 is None:
        return False
    try:
        return digest_of_file(Path(path)) == sha256
    except OSError:
        return False
