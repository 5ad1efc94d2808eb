"""Plans on disk: found by what they were made of and for, verified before they are used.

A plan is code: whoever can write into this folder can run it. The folder is 0700 and must belong
to the user; every plan is checked against a keyed digest before TensorRT sees a byte of it.
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

from restora.backends.tensorrt.build import BuildOptions
from restora.backends.tensorrt.cache_files import raising_output_errors, read_facts
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.plan_folder import FACTS, FORMAT, PLAN, REFUSAL, PlanFolder
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.timing import SUFFIX as TIMING
from restora.cache_folder import cache_folder
from restora.errors import OutputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedPlan:
    """A plan and what is known of it: options, device, accuracy figures, how it was built."""

    plan: bytes = field(repr=False)
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A plan that was built and is not used.

    reason: why
    facts: the same as a plan's
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

    folder: default: plan_folder()

    Where there is no folder, or one that cannot be read or written, plans are used from memory.
    Raises UnsafePathError if the folder is somebody else's or others may write into it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._records = PlanFolder(folder or plan_folder())

    @property
    def folder(self) -> Path | None:
        return self._records.path

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
        with self._records.lock(key) as waited:
            found = (self.load(key) or self.load_refusal(key)) if waited else None
            if found is not None:
                return found, False
            made = build()
            self._store_or_warn(key, made)
            return made, True

    def load(self, key: str) -> CachedPlan | None:
        """None if there is no such plan, or if what there is cannot be trusted; that is logged."""
        record = self._read_or_warn(key, FACTS)
        return None if record is None else CachedPlan(plan=record[1], facts=record[0])

    def load_refusal(self, key: str) -> Refusal | None:
        """Why a plan that was built before is not used; None if that is not known."""
        record = self._read_or_warn(key, REFUSAL)
        return None if record is None else Refusal(str(record[0].get("reason")), record[0])

    def store(self, key: str, made: CachedPlan | Refusal) -> None:
        """Raises OutputError if the folder cannot be written."""
        if isinstance(made, CachedPlan):
            self._records.write(key, FACTS, made.facts, made.plan)
        else:
            self._records.write(key, REFUSAL, {**made.facts, "reason": made.reason})

    def entries(self) -> Iterator[tuple[str, dict[str, Any], str | None]]:
        """Key, facts and problem of every plan: facts are {} if there is a problem.

        Raises OutputError if the folder cannot be read.
        """
        for path in self._records.files(FACTS):
            yield path.stem, *self._examine(path.stem)

    def newest_first(self) -> list[tuple[str, dict[str, Any]]]:
        """Key and facts of every plan, not verified: `load` does that."""
        found = []
        for path in self._records.files_or_warn(FACTS):
            # another process may be clearing; what is damaged is reported by `entries`
            with suppress(OSError, ValueError):
                found.append((path.stat().st_mtime, path.stem, read_facts(path)))
        found.sort(key=lambda entry: entry[:2], reverse=True)
        return [(key, facts) for _, key, facts in found]

    def refusals(self) -> list[Refusal]:
        """All that are known."""
        found = [self.load_refusal(path.stem) for path in self._records.files_or_warn(REFUSAL)]
        return [refusal for refusal in found if refusal is not None]

    def clear(self) -> int:
        """Delete all plans, refusals and timings; returns how many plans. Locks and the key stay.

        Raises OutputError if one cannot be deleted.
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

    def _store_or_warn(self, key: str, made: CachedPlan | Refusal) -> None:
        try:
            self.store(key, made)
        except OutputError as error:
            logger.warning("the plan is used from memory and will be built again: %s", error)
