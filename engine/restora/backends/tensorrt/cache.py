"""The plan cache on disk.

A plan is executable code: whoever can write to this folder can run code as this user. The folder
therefore has mode 0700 and must belong to the user, and a keyed digest of each plan is verified
before TensorRT loads it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache_files import raising_output_errors, read_facts
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.plan_folder import FACTS, FORMAT, PLAN, REFUSAL, PlanFolder
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.timing import SUFFIX as TIMING
from restora.cache_folder import cache_folder
from restora.errors import OutputError
from restora.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedPlan:
    """A plan and its facts: options, device, accuracy, how it was built."""

    plan: bytes = field(repr=False)
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that a plan cannot be built, or was built but is not used.

    reason: why it is not used
    facts: the same facts as those of a plan, as far as the build went
    """

    reason: str
    facts: dict[str, Any]
    was_built: bool = True


def plan_key(onnx_sha256: str, device: DeviceFacts, options: BuildOptions, profile: Profile) -> str:
    """Compute the key of a plan from all that it depends on, which excludes the driver."""
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
    """The plan folder: $RESTORA_PLANS, or restora/plans in $XDG_CACHE_HOME or ~/.cache.

    The folder need not exist. Returns None if the user has no home directory, and raises
    OptionError if $RESTORA_PLANS is not a usable path.
    """
    return cache_folder("plans", variable="RESTORA_PLANS")


class PlanCache:
    """A folder of plans, created with mode 0700 when the first plan is stored.

    folder: defaults to plan_folder()

    If there is no folder, or if it cannot be read or written, plans are used from memory.
    Raises UnsafePathError if the folder belongs to another user, or if others can write to it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._records = PlanFolder(folder or plan_folder())

    @property
    def folder(self) -> Path | None:
        return self._records.path

    def get_or_build(
        self, key: str, build: Callable[[], CachedPlan | Refusal], *, retry: bool = False
    ) -> tuple[CachedPlan | Refusal, bool]:
        """Load a plan, or build and store it. Only one of several processes builds it.

        retry: build it again if it was refused

        Returns the plan or the refusal, and whether it was built now. Refusals are stored too, so
        a refused plan is not built again. A warning is logged if the cache cannot be written.
        """
        found = self._find(key, retry=retry)
        if found is not None:
            return found, False
        with self._records.lock(key) as waited:
            found = self._find(key, retry=retry) if waited else None
            if found is not None:
                return found, False
            made = build()
            self.store_or_warn(key, made)
            return made, True

    def load(self, key: str) -> CachedPlan | None:
        """Load a plan. Returns None if it does not exist or fails verification, which is logged."""
        record = self._read_or_warn(key, FACTS)
        return None if record is None else CachedPlan(plan=record[1], facts=record[0])

    def load_refusal(self, key: str) -> Refusal | None:
        """The reason why an earlier plan of this key was refused, or None.

        A refusal by another version of restora, which builds differently, does not count.
        """
        record = self._read_or_warn(key, REFUSAL)
        if record is None or record[0].get("restora") != __version__:
            return None
        facts = record[0]
        return Refusal(str(facts.get("reason")), facts, was_built=bool(facts.get("was_built")))

    def store(self, key: str, made: CachedPlan | Refusal) -> None:
        """Store a plan or a refusal. Raises OutputError if the folder cannot be written."""
        if isinstance(made, CachedPlan):
            self._records.write(key, FACTS, made.facts, made.plan)
            self._records.remove(key, REFUSAL)
        else:
            reason = {
                "reason": made.reason,
                "was_built": made.was_built,
                "restora": __version__,
            }
            self._records.write(key, REFUSAL, {**made.facts, **reason})

    def store_or_warn(self, key: str, made: CachedPlan | Refusal) -> None:
        """Store a plan or a refusal. A warning is logged if the folder cannot be written."""
        try:
            self.store(key, made)
        except OutputError as error:
            logger.warning("the plan is used from memory and will be built again: %s", error)

    def entries(self) -> Iterator[tuple[str, dict[str, Any], str | None]]:
        """Iterate over key, facts and problem of all plans; facts are {} if there is a problem.

        Raises OutputError if the folder cannot be read.
        """
        for path in self._records.files(FACTS):
            yield path.stem, *self._examine(path.stem)

    def newest_first(self) -> list[tuple[str, dict[str, Any]]]:
        """Key and facts of all plans, newest first. They are not verified; `load` does that."""
        found = []
        for path in self._records.files_or_warn(FACTS):
            # another process may be deleting files; `entries` reports damaged ones
            with suppress(OSError, ValueError):
                found.append((path.stat().st_mtime, path.stem, read_facts(path)))
        found.sort(key=lambda entry: entry[:2], reverse=True)
        return [(key, facts) for _, key, facts in found]

    def refusals(self) -> list[Refusal]:
        """All stored refusals."""
        found = [self.load_refusal(path.stem) for path in self._records.files_or_warn(REFUSAL)]
        return [refusal for refusal in found if refusal is not None]

    def clear(self) -> int:
        """Delete all plans, refusals and timing caches, but not the locks and the key.

        Returns the number of deleted plans. Raises OutputError if a file cannot be deleted.
        """
        plans = self._records.files(FACTS)
        for suffix in (FACTS, PLAN, REFUSAL, TIMING):
            for path in self._records.files(suffix):
                with raising_output_errors(path):
                    path.unlink(missing_ok=True)
        return len(plans)

    def _examine(self, key: str) -> tuple[dict[str, Any], str | None]:
        try:
            return self._records.read(key, FACTS)[0], None
        except (OSError, ValueError) as error:
            return {}, str(error)

    def _read_or_warn(self, key: str, suffix: str) -> tuple[dict[str, Any], bytes] | None:
        try:
            return self._records.read(key, suffix)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning(
                "%s%s in %s is not used and built again: %s", key, suffix, self.folder, error
            )
            return None

    def _find(self, key: str, *, retry: bool) -> CachedPlan | Refusal | None:
        return self.load(key) or (None if retry else self.load_refusal(key))
