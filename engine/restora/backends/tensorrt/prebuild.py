"""Build the TensorRT plans of a model ahead of the first run that needs them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from restora.artifact import Artifact, read_artifact, read_precision_variants
from restora.backends.driver import require_driver
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import CachedPlan, PlanCache
from restora.backends.tensorrt.cuda import Device, import_pycuda
from restora.backends.tensorrt.memory_limits import profiles_on
from restora.backends.tensorrt.module import features_of, import_tensorrt
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plans
from restora.backends.tensorrt.progress import BuildProgress
from restora.backends.tensorrt.start import require_tensorrt_starts
from restora.models import MODELS
from restora.models.resolve import find_or_export

logger = logging.getLogger(__name__)


def build_plans(
    model: str,
    options: BuildOptions,
    *,
    tile: int | None = None,
    batches: Sequence[int] | None = None,
    max_tile: int | None = None,
    gpu: int = 0,
    retry: bool = False,
    cache: PlanCache | None = None,
    progress: BuildProgress | None = None,
    report: Callable[[str], None] = logger.info,
) -> list[CachedPlan]:
    """Build the plans of a model, or find them in the cache, each checked against the artifact.

    model: a name of the table of models, or the path of an artifact or a checkpoint
    tile: side in pixels of the tiles that most of the work is done in
    batches: tiles per call; one plan is built for each number
    max_tile: largest side in pixels of any tile
        For the defaults of these three see profiles_on.
    gpu: number of the GPU
    retry: build plans again that were refused before

    Raises MissingBackendError without a driver or TensorRT, OptionError for sizes that TensorRT
    cannot hold, MissingModelError, AccuracyGateError, BuildError, or DeviceMemoryError if the
    memory of the GPU is full.
    """
    require_driver()
    trt = import_tensorrt()
    device = Device(import_pycuda(), gpu)
    require_tensorrt_starts(trt, device)
    candidates = plan_candidates(trt, options, find_precisions(model))
    info = candidates[0].artifact.info
    profiles = profiles_on(
        device, info, options.precision, tile=tile, batches=batches, max_tile=max_tile
    )
    prepared = prepare_plans(
        trt,
        device,
        cache or PlanCache(),
        candidates,
        profiles,
        retry=retry,
        progress=progress,
        report=report,
    )
    return [plan for plan, _ in prepared]


def can_cancel_builds() -> bool:
    """Whether a build notices Ctrl-C; that of TensorRT 8.6 does not.

    Raises MissingBackendError without a driver or TensorRT.
    """
    require_driver()
    return features_of(import_tensorrt()).progress


def find_precisions(model: str) -> list[Artifact]:
    """Find or export the artifacts of a model, one for each precision that meets its threshold."""
    kind = MODELS[model].kind if model in MODELS else "upsampler"
    path = find_or_export(model, "uint8", kind, half=True)
    return read_precision_variants(read_artifact(path), path)
