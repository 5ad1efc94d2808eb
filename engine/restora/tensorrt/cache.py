"""Plans on disk: found by what they were made of and for, verified before they are used.

A plan is code: whoever can write into this folder can run it. The folder is 0700 and must belong
to the user; every plan is checked against a keyed digest before TensorRT sees a byte of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from restora.cache_folder import cache_folder, check_own_folder
from restora.errors import OutputError, PlanError
from restora.image import write_atomically
from restora.tensorrt.build import BuildOptions
from restora.tensorrt.cache_files import (
    MOST_PLAN_BYTES,
    Signer,
    raising_output_errors,
    read_facts,
    read_regular,
)
from restora.tensorrt.device import DeviceFacts
from restora.tensorrt.profiles import Profile
from restora.tensorrt.timing import SUFFIX as TIMING_SUFFIX

logger = logging.getLogger(__name__)

FORMAT = 1
_KEY_FILE = "cache.key"
_PURPOSE = "the plan cache"
_REFUSAL_SUFFIX = ".refusal"


@dataclass(frozen=True, slots=True)
class CachedPlan:
    """A plan and what is known of it: options, device, accuracy figures, how it was built."""

    plan: bytes = field(repr=False)
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A plan that was built and is not used.

    reason  why
    facts   the same as a plan's
    """

    reason: str
    facts: dict[str, Any]


def plan_key(onnx_sha256: str, device: DeviceFacts, options: BuildOptions, profile: Profile) -> str:
    """Names a plan. Any difference in any of these gives another key; the driver's version none."""
    identity = {
        "format": FORMAT,
        "onnx": onnx_sha256,
        "device": {k: v for k, v in asdict(device).items() if k != "driver"},
        "options": asdict(options),
        "profile": asdict(profile),
    }
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plan_folder() -> Path | None:
    """$RESTORA_PLANS, or restora/plans in $XDG_CACHE_HOME or ~/.cache. It need not exist; None if
    the user has no home directory. Raises OptionError."""
    return cache_folder("plans", variable="RESTORA_PLANS")


class PlanCache:
    """Plans in one folder, made with mode 0700 when the first one is stored.

    folder  default: plan_folder()

    Where there is no folder, or one that cannot be read or written, plans are used from memory.
    Raises UnsafePathError if the folder is somebody else's or others may write into it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or plan_folder()
        try:
            self._check_folder()
        except OutputError:
            raise
        except OSError as error:
            logger.debug("%s cannot be examined: %s", self.folder, error)

    def get_or_build(
        self, key: str, build: Callable[[], CachedPlan | Refusal]
    ) -> tuple[CachedPlan | Refusal, bool]:
        """The cached plan, or the one that `build` makes; of several processes, one builds.

        Returns the plan and whether it was built now. A refusal is kept as a plan is, so that it is
        not built again. A cache that cannot be written costs a warning.
        """
        found = self.load(key) or self.load_refusal(key)
        if found is not None:
            return found, False
        with self._lock(key) as waited:
            found = (self.load(key) or self.load_refusal(key)) if waited else None
            if found is not None:
                return found, False
            made = build()
            self._store_or_warn(key, made)
            return made, True

    def load(self, key: str) -> CachedPlan | None:
        """None if there is no such plan, or if what there is cannot be trusted; that is logged."""
        path = self._path(key, ".json")
        if path is None:
            return None
        try:
            facts = read_facts(path)
            plan = read_regular(path.with_suffix(".plan"), most=MOST_PLAN_BYTES)
            problem = self._find_problem(path, plan, facts)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            problem = str(error)
        if problem is not None:
            logger.warning("the plan %s is not used and built again: %s", path, problem)
            return None
        return CachedPlan(plan, facts)

    def load_refusal(self, key: str) -> Refusal | None:
        """Why a plan that was built before is not used; None if that is not known."""
        path = self._path(key, _REFUSAL_SUFFIX)
        if path is None:
            return None
        try:
            facts = read_facts(path)
            problem = self._find_problem(path, b"", facts)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            problem = str(error)
        if problem is not None:
            logger.warning("%s is ignored, the plan is built again: %s", path, problem)
            return None
        return Refusal(str(facts.get("reason")), facts)

    def store(self, key: str, made: CachedPlan | Refusal) -> None:
        """Write a plan or a refusal. A plan's facts come last: without them it does not count.

        Raises OutputError if the folder cannot be written.
        """
        path = self._path(key, ".json" if isinstance(made, CachedPlan) else _REFUSAL_SUFFIX)
        if path is None:
            raise OutputError("there is no folder for plans: set RESTORA_PLANS to one of your own")
        plan = made.plan if isinstance(made, CachedPlan) else b""
        with raising_output_errors(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_folder()
            facts = {**made.facts, "format": FORMAT, "key": _name(path), "size": len(plan)}
            if isinstance(made, Refusal):
                facts["reason"] = made.reason
            facts["digest"] = Signer(path.with_name(_KEY_FILE)).sign(facts, plan)
            path.unlink(missing_ok=True)
            if isinstance(made, CachedPlan):
                write_atomically(path.with_suffix(".plan"), plan)
            write_atomically(path, json.dumps(facts, indent=1, sort_keys=True).encode())

    def entries(self) -> Iterator[tuple[str, dict[str, Any], str | None]]:
        """Key, facts and problem of every plan: facts are {} if there is a problem.

        Raises OutputError if the folder cannot be read.
        """
        for path in self._list("*.json"):
            key = path.stem
            try:
                facts = read_facts(path)
                plan = read_regular(path.with_suffix(".plan"), most=MOST_PLAN_BYTES)
                problem = self._find_problem(path, plan, facts)
            except (OSError, ValueError) as error:
                problem = str(error)
            yield key, {} if problem else facts, problem

    def newest_first(self) -> list[tuple[str, dict[str, Any]]]:
        """Key and facts of every plan, not verified: `load` does that."""
        found = []
        for path in self._list_or_warn("*.json"):
            # another process may be clearing; what is damaged is reported by `entries`
            with suppress(OSError, ValueError):
                found.append((path.stat().st_mtime, path.stem, read_facts(path)))
        found.sort(key=lambda entry: entry[:2], reverse=True)
        return [(key, facts) for _, key, facts in found]

    def refusals(self) -> list[Refusal]:
        """All that are known."""
        found = [self.load_refusal(path.stem) for path in self._list_or_warn(f"*{_REFUSAL_SUFFIX}")]
        return [refusal for refusal in found if refusal is not None]

    def clear(self) -> int:
        """Delete all plans, refusals and timings; returns how many plans. Locks and the key stay.

        Raises OutputError if one cannot be deleted.
        """
        plans = self._list("*.json")
        for pattern in ("*.json", "*.plan", f"*{_REFUSAL_SUFFIX}", f"*{TIMING_SUFFIX}"):
            for path in self._list(pattern):
                with raising_output_errors(path):
                    path.unlink(missing_ok=True)
        return len(plans)

    def _find_problem(self, path: Path, plan: bytes, facts: dict[str, Any]) -> str | None:
        """Raises OSError if the key that signs cannot be read."""
        if facts.get("format") != FORMAT:
            return "it is of another format"
        if facts.get("key") != _name(path):
            return "it was stored under another name"
        if not Signer(path.with_name(_KEY_FILE)).signed(facts, plan):
            return "its digest does not fit: it was damaged or changed"
        return None

    def _store_or_warn(self, key: str, made: CachedPlan | Refusal) -> None:
        try:
            self.store(key, made)
        except OutputError as error:
            logger.warning("the plan is used from memory and will be built again: %s", error)

    def _path(self, key: str, suffix: str) -> Path | None:
        if not (key.isascii() and key.isalnum()):
            raise PlanError(f"a plan's key must be a hexadecimal digest, got {key!r}")
        return None if self.folder is None else self.folder / f"{key}{suffix}"

    def _list(self, pattern: str) -> list[Path]:
        """Files in the folder whose names are a key and a suffix. Raises OutputError."""
        if self.folder is None:
            return []
        try:
            return sorted(path for path in self.folder.glob(pattern) if path.stem.isalnum())
        except OSError as error:
            raise OutputError(f"the plan cache cannot be read: {error}") from error

    def _list_or_warn(self, pattern: str) -> list[Path]:
        try:
            return self._list(pattern)
        except OutputError as error:
            logger.warning("%s", error)
            return []

    def _check_folder(self) -> None:
        if self.folder is not None:
            check_own_folder(self.folder, purpose=_PURPOSE)

    @contextmanager
    def _lock(self, key: str) -> Iterator[bool]:
        """Held by one process at a time; False if there is none: the folder cannot be written."""
        path = self._path(key, ".lock")
        lock = None
        if path is not None:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = FileLock(path)
                lock.acquire()
            except (OSError, NotImplementedError) as error:  # a file system may have no locks
                lock = None
                logger.debug("no lock in %s: %s", self.folder, error)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.release()


def _name(path: Path) -> str:
    """What a record is signed under: a refusal does not pass for a plan."""
    return path.stem if path.suffix == ".json" else path.name
