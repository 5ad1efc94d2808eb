"""Open the plans of the stage `build` as a session."""

from __future__ import annotations

from restora.artifact import Precision
from restora.backends.tensorrt.build import BuildOptions
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.loaded import LoadedPlan
from restora.backends.tensorrt.open import load_plans
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plans
from restora.backends.tensorrt.profiles import plan_profiles
from restora.backends.tensorrt.session import TensorRTSession
from restora_tools.gpu.machine import Modules
from restora_tools.gpu.places import Places
from restora_tools.gpu.subjects import Subject


def open_plans(
    modules: Modules, places: Places, subject: Subject, precision: Precision
) -> tuple[list[LoadedPlan], Precision]:
    """The plans of a subject on a device of their own, and the precision that they are in."""
    family = places.family(subject)
    wanted = subject.plans
    rungs = plan_candidates(modules.trt, BuildOptions(precision=precision), family)
    profiles = plan_profiles(
        family[0].info, tile=wanted.tile, batches=wanted.batches, max_tile=wanted.max_tile
    )
    device = modules.open_device()
    try:
        prepared = prepare_plans(
            modules.trt, device, PlanCache(places.plans), rungs, profiles, report=print
        )
        return load_plans(modules.trt, device, prepared), prepared[0][1].options.precision
    except BaseException:
        device.close()
        raise


def open_checked(
    modules: Modules,
    places: Places,
    subject: Subject,
    precision: Precision,
    *,
    graphs: bool = True,
) -> TensorRTSession:
    """A session on them."""
    plans, _ = open_plans(modules, places, subject, precision)
    return TensorRTSession(
        plans[0].device,
        plans,
        driver=(lambda: modules.driver) if graphs and modules.driver is not None else None,
        nvrtc=(lambda: modules.nvrtc) if modules.nvrtc is not None else None,
    )
