"""What is to be done with an input that a manifest knows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from restora.runs.manifest import Past, Stamp

MOST_KILLS = 3
Action = Literal["do", "redo", "leave", "failed", "quarantined"]


@dataclass(frozen=True, slots=True)
class Decision:
    """action  "do" and "redo": work on it; "leave": it is done; "failed" and "quarantined": it
    counts as failed without being tried. alone: nothing else is worked on beside it, since it may
    kill the process. why: for people."""

    action: Action
    why: str = ""
    alone: bool = False


def decide(
    past: Past | None,
    target: Path,
    *,
    recipe: str,
    stamp: Stamp,
    overwrite: bool = False,
    retry_failed: bool = False,
) -> Decision:
    """Whether to work on an input.

    past    what the manifest knows of it
    target  where its result goes
    stamp   of the input as it is now

    A result that the manifest does not know, or that was changed since, is never replaced without
    `overwrite`; one of another recipe, or of an input that changed, is made anew.
    """
    same = past is not None and (past.recipe, past.stamp) == (recipe, stamp)
    alone = past is not None and past.suspect and past.stamp == stamp
    if past is not None and same and not overwrite and not retry_failed:
        if past.kills >= MOST_KILLS:
            return Decision(
                "quarantined",
                f"quarantined: {past.kills} runs ended without a word while it was worked on; "
                "--retry-failed tries it again",
            )
        if past.status == "failed":
            return Decision("failed", f"failed before: {past.reason}; --retry-failed tries again")
    if overwrite or not target.exists() or target.is_symlink():
        return Decision("do", alone=alone)
    if past is None or past.sha256 is None:
        return Decision("leave", "already done")
    if same and past.status == "restored":
        return Decision("leave", "already done")
    if digest_of_file(target) != past.sha256:
        if same:
            return Decision("leave", "already done")  # in the moment before the run was killed
        return Decision("leave", "its result was changed since; --overwrite replaces it")
    return Decision("redo", "made with other settings or from another input", alone=alone)


def digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
