"""Load or build plans, and fall back to the next precision if a plan fails its self-check.

The candidates are the requested precision first and FP32 last. A plan records which candidates
were tried before it and why they were refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from restora.backends.tensorrt.build_checked import build_checked
from restora.backends.tensorrt.build_options import check_capability
from restora.backends.tensorrt.cache import CachedPlan, PlanCache, Refusal, plan_key
from restora.backends.tensorrt.candidates import plan_candidates
from restora.backends.tensorrt.check import PrecisionCandidate, Run
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.progress import BuildProgress
from restora.backends.tensorrt.reference import Reference
from restora.errors import AccuracyGateError, BuildCanceledError, BuildError, DeviceMemoryError

__all__ = ["plan_candidates", "prepare_plan", "prepare_plans"]

logger = logging.getLogger(__name__)


def prepare_plan(
    trt: Any,
    device: Device,
    cache: PlanCache,
    rungs: Sequence[PrecisionCandidate],
    profile: Profile,
    *,
    reference_run: Run | None = None,
    retry: bool = False,
    progress: BuildProgress | None = None,
    report: Callable[[str], None] = logger.info,
) -> tuple[CachedPlan, PrecisionCandidate]:
    """Load or build the plan of the first candidate that passes its gate.

    reference_run: see check_plan
    retry: build candidates again that were refused before

    A candidate that cannot be built or gives wrong results is not built again as long as the cache
    remembers it. Raises DeviceMemoryError, which is not remembered, if the memory of the GPU is
    full, OptionError if the GPU lacks the precision, and AccuracyGateError or BuildError, which
    list all attempts, if no candidate passes.
    """
    refused: list[str] = []
    kind: type[BuildError | AccuracyGateError] = BuildError
    facts = device.facts(str(trt.__version__))
    for rung in rungs:
        check_capability(rung.options, facts)
        model, precision = rung.artifact.info.model, rung.options.precision
        key = plan_key(rung.artifact.sha256, facts, rung.options, profile)

        def build(rung: PrecisionCandidate = rung, key: str = key) -> CachedPlan | Refusal:
            name = f"{rung.artifact.info.model}, {rung.options.precision}"
            report(
                f"building {name}, for {_describe(profile)}; this takes minutes, once for this GPU"
            )
            return build_checked(
                trt,
                device,
                cache,
                rung,
                profile,
                key=key,
                refused_before=refused,
                reference_run=reference_run,
                progress=progress,
            )

        try:
            made, is_new = cache.get_or_build(key, build, retry=retry)
        except AccuracyGateError as error:
            refused.append(f"{precision}: {error}")
            kind = AccuracyGateError
            report(f"{model}, {precision}, is refused: {error}")
            continue
        if isinstance(made, CachedPlan):
            return made, rung
        refused.append(f"{precision}: {made.reason}")
        if made.was_built:
            kind = AccuracyGateError
        known = "" if is_new else " (known from an earlier build; `restora build --retry` tries it)"
        report(f"{model}, {precision}, is refused: {made.reason}{known}")
    raise kind(f"no plan of {rungs[0].artifact.info.model} can be used: {'; '.join(refused)}")


def prepare_plans(
    trt: Any,
    device: Device,
    cache: PlanCache,
    rungs: Sequence[PrecisionCandidate],
    profiles: Sequence[Profile],
    *,
    retry: bool = False,
    progress: BuildProgress | None = None,
    report: Callable[[str], None] = logger.info,
) -> list[tuple[CachedPlan, PrecisionCandidate]]:
    """Load or build the plans of all profiles in the same precision.

    The plan for several sizes comes first: it runs the self-check and is the reference for the
    others. Raises the errors of prepare_plan for it. A plan for one size that cannot be had is left
    out, which is reported, since the first plan accepts that size too, more slowly.
    """
    dynamic, *static = sorted(profiles, key=lambda profile: profile.is_static)
    plan, rung = prepare_plan(
        trt, device, cache, rungs, dynamic, retry=retry, progress=progress, report=report
    )
    prepared = [(plan, rung)]
    reference = Reference(trt, device, plan, rung)
    for profile in static:
        try:
            found = prepare_plan(
                trt,
                device,
                cache,
                [rung],
                profile,
                reference_run=reference.run,
                retry=retry,
                progress=progress,
                report=report,
            )
        except BuildCanceledError:
            raise
        except (AccuracyGateError, BuildError, DeviceMemoryError) as error:
            report(f"{profile.best} runs slower, on the plan for several sizes: {error}")
            continue
        prepared.append(found)
    return prepared


def _describe(profile: Profile) -> str:
    """What a plan is for, such as "4 tiles of 256 x 256" or "all sizes up to 1024 x 1024"."""
    count, height, width, _ = profile.largest
    if not profile.is_static:
        return f"all sizes up to {height} x {width}"
    return f"{count} {'tile' if count == 1 else 'tiles'} of {height} x {width}"
