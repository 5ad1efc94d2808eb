"""Plans on disk: found by what they were made of and for, verified before they are used.

A plan is code: whoever can write into this folder can run it. The folder is 0700 and must belong
to the user; every plan is checked against a keyed digest before TensorRT sees a byte of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from restora.errors import OutputError, PlanError, UnsafePathError
from restora.image import write_atomically
from restora.tensorrt.build import BuildOptions
from restora.tensorrt.device import DeviceFacts
from restora.tensorrt.profiles import Profile
from restora.tensorrt.timing import SUFFIX as TIMING_SUFFIX

logger = logging.getLogger(__name__)

FORMAT = 1
_KEY_FILE = "cache.key"


@dataclass(frozen=True, slots=True)
class CachedPlan:
    """A plan and what is known of it: options, device, accuracy figures, how it was built."""

    plan: bytes = field(repr=False)
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


def plan_folder() -> Path:
    """$RESTORA_PLANS, or restora/plans in $XDG_CACHE_HOME or ~/.cache. It need not exist."""
    chosen = os.environ.get("RESTORA_PLANS")
    if chosen:
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "restora" / "plans"


class PlanCache:
    """Plans in one folder, made with mode 0700 when the first one is stored.

    Raises UnsafePathError if the folder is somebody else's or others may write into it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or plan_folder()
        self._check_folder()

    def get_or_build(self, key: str, build: Callable[[], CachedPlan]) -> tuple[CachedPlan, bool]:
        """The cached plan, or the one that `build` makes; of several processes, one builds.

        Returns the plan and whether it was built now. A cache that cannot be written costs a
        warning; the plan is then used from memory.
        """
        found = self.load(key)
        if found is not None:
            return found, False
        with self._lock(key):
            found = self.load(key)
            if found is not None:
                return found, False
            made = build()
            self._store_or_warn(key, made)
            return made, True

    def load(self, key: str) -> CachedPlan | None:
        """None if there is no such plan, or if what there is cannot be trusted; that is logged."""
        plan_path, facts_path = self._paths(key)
        try:
            facts = json.loads(facts_path.read_text())
            plan = plan_path.read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("the plan %s cannot be read and is built again: %s", plan_path, error)
            return None
        problem = self._find_problem(key, plan, facts)
        if problem is not None:
            logger.warning("the plan %s is not used and built again: %s", plan_path, problem)
            return None
        return CachedPlan(plan, facts)

    def store(self, key: str, made: CachedPlan) -> None:
        """Write a plan; the facts come last, so that a plan without them does not count.

        Raises OutputError if the folder cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be made: {error.strerror}") from error
        self._check_folder()
        plan_path, facts_path = self._paths(key)
        facts = {**made.facts, "format": FORMAT, "key": key, "size": len(made.plan)}
        facts["digest"] = self._digest(made.plan, facts, create=True)
        with suppress(FileNotFoundError):
            facts_path.unlink()
        write_atomically(plan_path, made.plan)
        write_atomically(facts_path, json.dumps(facts, indent=1, sort_keys=True).encode())

    def entries(self) -> Iterator[tuple[str, dict[str, Any], str | None]]:
        """Key, facts and problem (None if sound) of every plan."""
        for facts_path in sorted(self.folder.glob("*.json")):
            key = facts_path.stem
            try:
                facts = json.loads(facts_path.read_text())
                plan = facts_path.with_suffix(".plan").read_bytes()
            except (OSError, ValueError) as error:
                yield key, {}, str(error)
                continue
            yield key, facts, self._find_problem(key, plan, facts)

    def newest_first(self) -> list[tuple[str, dict[str, Any]]]:
        """Key and facts of every plan, not verified: `load` does that."""
        found = []
        for path in self.folder.glob("*.json"):
            # another process may be clearing; what is damaged is reported by `entries`
            with suppress(OSError, ValueError):
                found.append((path.stat().st_mtime, path.stem, json.loads(path.read_text())))
        found.sort(key=lambda entry: entry[:2], reverse=True)
        return [(key, facts) for _, key, facts in found if isinstance(facts, dict)]

    def clear(self) -> int:
        """Delete all plans and timings; returns how many plans. Locks and the key stay."""
        count = 0
        for path in sorted(self.folder.glob("*.json")):
            path.unlink(missing_ok=True)
            path.with_suffix(".plan").unlink(missing_ok=True)
            count += 1
        for pattern in ("*.plan", f"*{TIMING_SUFFIX}"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        return count

    def _find_problem(self, key: str, plan: bytes, facts: Any) -> str | None:
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            return "it is of another format"
        if facts.get("key") != key:
            return "it was stored under another name"
        digest = self._digest(plan, facts, create=False)
        if digest is None or not hmac.compare_digest(str(facts.get("digest")), digest):
            return "its digest does not fit: it was damaged or changed"
        return None

    def _digest(self, plan: bytes, facts: dict[str, Any], *, create: bool) -> str | None:
        """HMAC over the plan and its facts, with a key that only this user can read."""
        secret = self._secret(create=create)
        if secret is None:
            return None
        signed = {name: value for name, value in facts.items() if name != "digest"}
        code = hmac.new(secret, json.dumps(signed, sort_keys=True).encode(), hashlib.sha256)
        code.update(hashlib.sha256(plan).digest())
        return code.hexdigest()

    def _secret(self, *, create: bool) -> bytes | None:
        path = self.folder / _KEY_FILE
        with suppress(FileNotFoundError):
            return path.read_bytes()
        if not create:
            return None
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(32))
            with suppress(FileExistsError):
                os.link(draft, path)  # whole or not at all; the first one wins
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        finally:
            draft.unlink(missing_ok=True)
        return path.read_bytes()

    def _store_or_warn(self, key: str, made: CachedPlan) -> None:
        try:
            self.store(key, made)
        except OutputError as error:
            logger.warning("the plan is used from memory and will be built again: %s", error)

    def _paths(self, key: str) -> tuple[Path, Path]:
        if not key.isalnum():
            raise PlanError(f"a plan's key must be a hexadecimal digest, got {key!r}")
        return self.folder / f"{key}.plan", self.folder / f"{key}.json"

    def _check_folder(self) -> None:
        try:
            status = self.folder.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            raise UnsafePathError(f"the plan cache must be a folder, {self.folder} is none")
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            raise UnsafePathError(
                f"the plan cache {self.folder} belongs to another user; plans are code: set "
                "RESTORA_PLANS to a folder of your own"
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UnsafePathError(
                f"others may write into the plan cache {self.folder}; plans are code: "
                f"chmod 700 {self.folder}"
            )

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Held by one process at a time; none if the folder cannot be written."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self.folder / f"{key}.lock")
            lock.acquire()
        except OSError as error:
            logger.debug("no lock in %s: %s", self.folder, error)
            yield
            return
        try:
            yield
        finally:
            lock.release()
