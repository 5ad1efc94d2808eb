"""Open a TensorRT session with plans from the cache, or build them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from restora.artifact import Artifact, Precision
from restora.backends.driver import require_driver
from restora.backends.options import SessionOptions
from restora.backends.tensorrt.adopt import adopt_plans
from restora.backends.tensorrt.bindings import import_driver, import_nvrtc
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import CachedPlan, PlanCache
from restora.backends.tensorrt.check import PrecisionCandidate
from restora.backends.tensorrt.cuda import Device, import_pycuda
from restora.backends.tensorrt.loaded import LoadedPlan
from restora.backends.tensorrt.memory_limits import profiles_on
from restora.backends.tensorrt.module import features_of, import_tensorrt
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plans
from restora.backends.tensorrt.session import TensorRTSession
from restora.backends.tensorrt.start import require_tensorrt_starts
from restora.backends.tensorrt.stored_plans import find_built, profile_of
from restora.errors import MissingBackendError, OptionError

logger = logging.getLogger(__name__)

KINDS = ("upsampler", "face", "damage-detector", "repairer")


def open_tensorrt(
    family: Sequence[Artifact], options: SessionOptions
) -> tuple[TensorRTSession, Precision]:
    """Open a session for one model. Returns it with its precision.

    family: the artifacts of the model, in all available precisions

    Missing plans are built once, which takes minutes and is announced by a warning. Raises
    MissingBackendError, OptionError, BuildError, AccuracyGateError or SessionError.
    """
    info = family[0].info
    if info.kind not in KINDS:
        raise MissingBackendError(
            f"plans are built for networks that return pictures or masks, not for a {info.kind}"
        )
    require_driver()
    trt = import_tensorrt()
    device = Device(import_pycuda(), options.gpu or 0)
    require_tensorrt_starts(trt, device)
    return session_on(trt, device, family, options)


def session_on(
    trt: Any, device: Device, family: Sequence[Artifact], options: SessionOptions
) -> tuple[TensorRTSession, Precision]:
    """Open a session with these modules on this device."""
    wanted = options.plans
    precision = choose_precision(trt, family, options)
    build = BuildOptions(
        precision=precision, workspace_bytes=wanted.workspace_bytes, opt_level=wanted.opt_level
    )
    rungs = plan_candidates(trt, build, family)
    info = family[0].info
    multiple = info.size_multiple
    tile, most = (
        None if size is None else size // multiple * multiple
        for size in (wanted.tile, wanted.max_tile)
    )
    if tile is not None and most is not None:
        most = max(tile, most)
    profiles = profiles_on(
        device, info, precision, tile=tile, batches=wanted.batches, max_tile=most
    )
    cache = PlanCache()
    sizes = None if wanted.any_built else profiles
    facts = device.facts(str(trt.__version__))
    built = find_built(cache, facts, rungs, sizes)
    if not built and adopt_plans(trt, device, cache, rungs, report=logger.warning):
        built = find_built(cache, facts, rungs, sizes)
    prepared = built or prepare_plans(trt, device, cache, rungs, profiles, report=logger.warning)
    plans = load_plans(trt, device, prepared)
    session = TensorRTSession(
        device,
        plans,
        driver=import_driver if wanted.graphs else None,
        nvrtc=import_nvrtc,
        waits=options.gpu_wait,
        pinned_bytes=options.pinned_bytes,
    )
    used = prepared[0][1].options.precision
    logger.info("%s on TensorRT %s, %s, %d plans", info.model, trt.__version__, used, len(plans))
    return session, used


def load_plans(
    trt: Any, device: Device, prepared: Sequence[tuple[CachedPlan, PrecisionCandidate]]
) -> list[LoadedPlan]:
    with device.current():
        return [
            LoadedPlan(
                trt,
                device,
                plan.plan,
                info=rung.artifact.info,
                profile=profile_of(plan),
                onnx=rung.artifact.onnx if rung.options.strip_weights else None,
                version_compatible=rung.options.version_compatible,
            )
            for plan, rung in prepared
        ]


def choose_precision(trt: Any, family: Sequence[Artifact], options: SessionOptions) -> Precision:
    """The requested precision; for "auto" FP16 if possible, otherwise FP32 with a warning."""
    if options.precision == "bf16":
        raise OptionError("plans are built in fp16, mixed, fp32, int8 or fp8, not in bf16")
    if options.precision != "auto":
        return options.precision
    precisions = {artifact.info.precision for artifact in family}
    features = features_of(trt)
    if "fp16" in precisions or not features.strongly_typed:
        return "fp16"
    logger.warning(
        "%s runs in fp32, several times slower than in fp16: TensorRT %s needs an fp16 artifact "
        "beside it, make it with `restora export --precision fp16`",
        family[0].info.model,
        features.version,
    )
    return "fp32"
