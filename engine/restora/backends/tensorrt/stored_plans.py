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


def profile_of(plan: CachedPlan, *, asked: bool = False) -> Profile:
    """The sizes that a plan accepts; a build may have reduced the `asked` ones."""
    facts = plan.facts["asked_profile" if asked else "profile"]
    shapes = {name: tuple(shape) for name, shape in facts.items()}
    return Profile(shapes["smallest"], shapes["best"], shapes["largest"])


def options_of(plan: CachedPlan, *, asked: bool = False) -> BuildOptions | None:
    """The options that a plan was built with; a build may have reduced the `asked` ones.

    Returns None for a plan of another version of restora.
    """
    try:
        return BuildOptions(**plan.facts["asked_options" if asked else "options"])
    except (KeyError, TypeError, OptionError):
        return None


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
        options, built = options_of(plan, asked=True), options_of(plan)
        if options is None or built is None or chosen not in (None, options):
            continue
        asked = profile_of(plan, asked=True)
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
