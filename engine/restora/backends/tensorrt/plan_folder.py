"""A folder of signed records, written by one process at a time."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restora.atomic import write_atomically
from restora.backends.tensorrt.cache_files import (
    MOST_PLAN_BYTES,
    Signer,
    raising_output_errors,
    read_facts,
    read_regular,
)
from restora.cache_folder import check_own_folder
from restora.errors import OutputError, PlanError

if TYPE_CHECKING:
    from filelock import FileLock

logger = logging.getLogger(__name__)

FORMAT = 2
FACTS, PLAN, REFUSAL, LOCK = ".json", ".plan", ".refusal", ".lock"
_KEY_FILE = "cache.key"


class PlanFolder:
    """Stores records: KEY.json with the plan beside it, or KEY.refusal without a plan.

    path: the folder; with None, nothing is found and nothing can be written

    Raises UnsafePathError if the folder belongs to another user, or if others can write to it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        try:
            self._check()
        except OutputError:
            raise
        except OSError as error:
            logger.debug("%s cannot be examined: %s", path, error)

    def read(self, key: str, suffix: str) -> tuple[dict[str, Any], bytes]:
        """Read and verify a record. Returns its facts and its plan.

        Raises FileNotFoundError, OSError, or ValueError if the verification fails.
        """
        path = self._file(key, suffix)
        facts, plan = read_facts(path), b""
        if suffix == FACTS:
            plan = read_regular(path.with_suffix(PLAN), maximum=MOST_PLAN_BYTES)
        if facts.get("format") != FORMAT:
            raise ValueError("it has another format")
        if facts.get("key") != _signed_name(key, suffix):
            raise ValueError("it was stored under another name")
        if not Signer(path.with_name(_KEY_FILE)).signed(facts, plan):
            raise ValueError("its digest does not match: it was damaged or changed")
        return facts, plan

    def write(self, key: str, suffix: str, facts: dict[str, Any], plan: bytes = b"") -> None:
        """Sign and store a record. The facts are written last: a plan without facts is ignored.

        Raises OutputError if the folder cannot be written.
        """
        if self.path is None:
            raise OutputError("there is no folder for plans: set RESTORA_PLANS to one of your own")
        path = self._file(key, suffix)
        with raising_output_errors(path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check()
            signed = {
                **facts,
                "format": FORMAT,
                "key": _signed_name(key, suffix),
                "size": len(plan),
            }
            signed["digest"] = Signer(path.with_name(_KEY_FILE)).sign(signed, plan)
            path.unlink(missing_ok=True)
            if suffix == FACTS:
                write_atomically(path.with_suffix(PLAN), plan)
            write_atomically(path, json.dumps(signed, indent=1, sort_keys=True).encode())

    def remove(self, key: str, suffix: str) -> None:
        """Delete a record, if there is one. Raises OutputError."""
        path = self._file(key, suffix)
        with raising_output_errors(path):
            path.unlink(missing_ok=True)

    def files(self, suffix: str) -> list[Path]:
        """All files named KEY + suffix, sorted by name.

        Raises OutputError if the folder cannot be read.
        """
        if self.path is None:
            return []
        try:
            return sorted(path for path in self.path.glob(f"*{suffix}") if path.stem.isalnum())
        except OSError as error:
            raise OutputError(f"the plan cache cannot be read: {error}") from error

    def files_or_warn(self, suffix: str) -> list[Path]:
        try:
            return self.files(suffix)
        except OutputError as error:
            logger.warning("%s", error)
            return []

    @contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Hold the lock of a key. Yields False if there is no lock, because the folder cannot be
        written or filelock is not installed; the latter is logged."""
        lock = self._acquire(key)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.release()

    def _acquire(self, key: str) -> FileLock | None:
        if self.path is None:
            return None
        try:
            # not installed on machines that only run make gpu-check
            from filelock import FileLock
        except ImportError:
            logger.warning(
                "filelock is not installed: processes that build the same plan do not wait for "
                "each other"
            )
            return None
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self._file(key, LOCK))
            lock.acquire()
        except (OSError, NotImplementedError) as error:  # a file system may have no locks
            logger.debug("no lock in %s: %s", self.path, error)
            return None
        return lock

    def _file(self, key: str, suffix: str) -> Path:
        if not (key.isascii() and key.isalnum()):
            raise PlanError(f"a plan's key must be a hexadecimal digest, got {key!r}")
        if self.path is None:
            raise FileNotFoundError("there is no folder for plans")
        return self.path / f"{key}{suffix}"

    def _check(self) -> None:
        if self.path is not None:
            check_own_folder(self.path, purpose="the plan cache")


def _signed_name(key: str, suffix: str) -> str:
    """The name that is signed, so that a refusal cannot be used as a plan."""
    return key if suffix == FACTS else f"{key}{suffix}"
