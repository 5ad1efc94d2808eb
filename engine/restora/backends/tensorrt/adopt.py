"""Take over plans that were built elsewhere, with an option that makes them run here.

Plans for later versions survive an update of TensorRT, and plans for several GPUs a change of the
GPU. They are checked here as if they were new, and stored under this GPU and version.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import CachedPlan, PlanCache, plan_key
from restora.backends.tensorrt.check import PrecisionCandidate, check_plan
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.reference import Reference
from restora.backends.tensorrt.stored_plans import options_of, profile_of
from restora.errors import (
    AccuracyGateError,
    DeviceLostError,
    DeviceMemoryError,
    PlanError,
    SessionError,
)

logger = logging.getLogger(__name__)

_AMPERE = (8, 0)
_SOFTWARE = ("tensorrt", "cuda_runtime", "driver")


def adopt_plans(
    trt: Any,
    device: Device,
    cache: PlanCache,
    rungs: Sequence[PrecisionCandidate],
    *,
    report: Callable[[str], None] = logger.info,
) -> int:
    """Check the plans of `rungs` that were built elsewhere and may run here, and store those that
    pass. Returns their number.

    Raises DeviceMemoryError or DeviceLostError.
    """
    here = device.facts(str(trt.__version__))
    references: dict[str, Reference] = {}
    adopted = 0
    for rung in rungs:
        for plan in _candidates(cache, here, rung):
            options = options_of(plan)
            assert options is not None
            own = PrecisionCandidate(options, rung.artifact)
            profile = profile_of(plan)
            reference = references.get(rung.artifact.sha256)
            try:
                run = None if reference is None else reference.run
                figures = check_plan(trt, device, plan.plan, own, profile, run)
            except (DeviceMemoryError, DeviceLostError):
                raise
            except (AccuracyGateError, PlanError, SessionError) as error:
                report(f"{rung.artifact.info.model}: a plan from elsewhere does not run: {error}")
                continue
            facts = {**plan.facts, "device": asdict(here), "selfcheck": figures}
            made = CachedPlan(plan.plan, {**facts, "built_on": plan.facts["device"]})
            cache.store_or_warn(_key(made, here, rung), made)
            adopted += 1
            if not profile.is_static:
                references.setdefault(rung.artifact.sha256, Reference(trt, device, made, own))
    return adopted


def may_run(options: BuildOptions, built_on: dict[str, Any], here: DeviceFacts) -> bool:
    """Whether a plan that was built elsewhere may run here, judged by its options.

    built_on: the facts of a DeviceFacts
    """
    there, local = dict(built_on), asdict(here)
    if set(there) != set(local):
        return False
    same_software = all(there[name] == local[name] for name in ("tensorrt", "cuda_runtime"))
    if not same_software and not (
        options.version_compatible and _number(there["tensorrt"]) <= _number(local["tensorrt"])
    ):
        return False
    if all(there[name] == local[name] for name in local if name not in _SOFTWARE):
        return True
    if options.hardware == "same_capability":
        return bool(there["capability"] == local["capability"])
    return options.hardware == "ampere_plus" and _number(here.capability) >= _AMPERE


def _candidates(cache: PlanCache, here: DeviceFacts, rung: PrecisionCandidate) -> list[CachedPlan]:
    """Verified plans that may run here and are not known here yet, those for several sizes first
    and then the newest first."""
    found: dict[str, CachedPlan] = {}
    for key, unverified in cache.newest_first():
        if unverified.get("onnx") != rung.artifact.sha256:
            continue
        plan = cache.load(key)
        if plan is None or plan.facts.get("onnx") != rung.artifact.sha256:
            continue
        options = options_of(plan)
        if options is None or options.precision != rung.options.precision:
            continue
        if not may_run(options, plan.facts["device"], here):
            continue
        new = _key(plan, here, rung)
        if new != key and new not in found and cache.load(new) is None:
            found[new] = plan
    return sorted(found.values(), key=lambda plan: profile_of(plan).is_static)


def _key(plan: CachedPlan, here: DeviceFacts, rung: PrecisionCandidate) -> str:
    options = options_of(plan, asked=True)
    assert options is not None
    return plan_key(rung.artifact.sha256, here, options, profile_of(plan, asked=True))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
