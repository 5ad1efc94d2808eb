"""Build one plan and check it, or record why it is not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from restora.backends.tensorrt.build import build_plan
from restora.backends.tensorrt.cache import CachedPlan, PlanCache, Refusal
from restora.backends.tensorrt.check import PrecisionCandidate, Run, check_plan
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.progress import BuildProgress
from restora.backends.tensorrt.timing import TimingCacheFile
from restora.errors import (
    BuildCanceledError,
    BuildError,
    DeviceLostError,
    DeviceMemoryError,
    PlanError,
    RefusedPlanError,
    SessionError,
)
from restora.version import __version__


def build_checked(
    trt: Any,
    device: Device,
    cache: PlanCache,
    rung: PrecisionCandidate,
    profile: Profile,
    *,
    key: str,
    refused_before: Sequence[str],
    reference_run: Run | None,
    progress: BuildProgress | None,
) -> CachedPlan | Refusal:
    """Build a plan on `device` and run its self-check.

    key: the key of the plan in the cache
    refused_before: why better candidates are not used, recorded in the plan
    reference_run: see check_plan

    Returns a refusal if TensorRT cannot build or load the plan, or if its results are wrong. What
    depends on the moment is raised: DeviceMemoryError and BuildCanceledError. A plan with which the
    GPU fails is refused in the cache before DeviceLostError is raised, since it would end the next
    process too.
    """
    facts = device.facts(str(trt.__version__))
    timing = TimingCacheFile(cache.folder, facts)
    about: dict[str, Any] = {
        "model": rung.artifact.info.model,
        "onnx": rung.artifact.sha256,
        "restora": __version__,
        "device": asdict(facts),
        "options": asdict(rung.options),
        "profile": asdict(profile),
        "asked_options": asdict(rung.options),
        "asked_profile": asdict(profile),
    }
    try:
        with device.current():
            built = build_plan(
                trt,
                rung.artifact,
                profile,
                rung.options,
                timing_cache=timing.load(),
                keep_timing=timing.store,
                progress=progress,
            )
    except BuildCanceledError:
        raise
    except BuildError as error:
        return Refusal(str(error), about, was_built=False)
    about |= {
        "options": asdict(built.options),
        "profile": asdict(built.profile),
        "build_s": round(built.seconds, 2),
        "attempts": [*refused_before, *built.attempts],
    }
    try:
        figures = check_plan(trt, device, built.plan, rung, built.profile, reference_run)
    except DeviceLostError as error:
        cache.store_or_warn(key, Refusal(f"the GPU failed while its plan ran: {error}", about))
        raise
    except DeviceMemoryError:
        raise
    except (RefusedPlanError, PlanError, SessionError) as error:
        return Refusal(str(error), about)
    return CachedPlan(built.plan, {**about, "selfcheck": figures})
