"""Find plans in the cache that a session can use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import CachedPlan, PlanCache
from restora.backends.tensorrt.check import PrecisionCandidate
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.profiles import Profile
from restora.errors import OptionError

Found = list[tuple[CachedPlan, PrecisionCandidate]]


def find_built(
    cache: PlanCache,
    device: DeviceFacts,
    rungs: Sequence[PrecisionCandidate],
    profiles: Sequence[Profile] | None = None,
) -> Found:
    """Find the plans that were built together last for this device, with any flags.

    profiles: only plans of these sizes, all of them, built with the options of `rungs` except for
        flags of compatibility and of stripped weights; None: of any size

    They belong to the first candidate that has plans. The result is empty if a candidate before it
    was neither built nor refused, since that one is better and may pass.
    """
    wanted = comparable(asdict(device))
    for rung in rungs:
        found = _find_built_together(cache, wanted, rung, profiles)
        # one of them must accept several sizes
        if any(not profile_of(plan).is_static for plan, _ in found):
            return found
        refusals = (refusal.facts for refusal in cache.refusals())
        if not any(_is_of(facts, rung, wanted) for facts in refusals):
            return []
    return []


def profile_of(plan: CachedPlan) -> Profile:
    """The sizes that a plan accepts; a build may have reduced the requested ones."""
    return _read_profile(plan.facts["profile"])


def comparable(device: dict[str, Any]) -> dict[str, Any]:
    """The facts about a device that decide whether a plan can run."""
    return {name: value for name, value in device.items() if name != "driver"}


def _find_built_together(
    cache: PlanCache,
    device: dict[str, Any],
    rung: PrecisionCandidate,
    profiles: Sequence[Profile] | None,
) -> Found:
    chosen: BuildOptions | None = None
    found: dict[Profile, tuple[CachedPlan, PrecisionCandidate]] = {}
    for key, unverified in cache.newest_first():
        if not _is_of(unverified, rung, device):
            continue
        plan = cache.load(key)
        if plan is None or not _is_of(plan.facts, rung, device):
            continue
        options = _read_options(plan.facts.get("asked_options"))
        built = _read_options(plan.facts.get("options"))
        if options is None or built is None or chosen not in (None, options):
            continue
        asked = _read_profile(plan.facts["asked_profile"])
        if profiles is not None and (asked not in profiles or _plain(options) != rung.options):
            continue
        chosen = options
        found.setdefault(asked, (plan, PrecisionCandidate(built, rung.artifact)))
    if profiles is not None and not set(profiles) <= set(found):
        return []
    return list(found.values())


def _plain(options: BuildOptions) -> BuildOptions:
    """The options without those that change where a plan runs but not what it computes."""
    return replace(options, version_compatible=False, hardware="none", strip_weights=False)


def _is_of(facts: dict[str, Any], rung: PrecisionCandidate, device: dict[str, Any]) -> bool:
    """Whether (unverified) facts describe a plan of this artifact, precision and device."""
    options, made_for = facts.get("options"), facts.get("device")
    return (
        facts.get("onnx") == rung.artifact.sha256
        and isinstance(options, dict)
        and options.get("precision") == rung.options.precision
        and isinstance(made_for, dict)
        and comparable(made_for) == device
    )


def _read_options(options: Any) -> BuildOptions | None:
    """Read build options, or return None if another version of restora wrote them."""
    try:
        return BuildOptions(**options)
    except (TypeError, OptionError):
        return None


def _read_profile(facts: dict[str, Any]) -> Profile:
    shapes = {name: tuple(shape) for name, shape in facts.items()}
    return Profile(shapes["smallest"], shapes["best"], shapes["largest"])
