"""Which precisions to try for a model, and the artifacts that they are built from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from restora.artifact import Artifact, Precision
from restora.backends.tensorrt.build_options import (
    BuildOptions,
    check_format,
    how_to_make,
    source_precision,
)
from restora.backends.tensorrt.check import PrecisionCandidate
from restora.backends.tensorrt.module import features_of
from restora.errors import OptionError

logger = logging.getLogger(__name__)

# candidates after the first one are skipped if there is no artifact for them
LADDERS: dict[Precision, tuple[Precision, ...]] = {
    "fp32": ("fp32",),
    "fp16": ("fp16", "mixed", "fp32"),
    "mixed": ("mixed", "fp32"),
    "int8_fp16": ("int8_fp16", "int8", "fp16", "mixed", "fp32"),
    "fp8": ("fp8", "fp16", "mixed", "fp32"),
}


def plan_candidates(
    trt: Any, options: BuildOptions, artifacts: Sequence[Artifact]
) -> list[PrecisionCandidate]:
    """The requested precision and its fallbacks, with the artifacts that they are built from.

    artifacts: the artifacts of one model, in all available precisions

    INT8 is built with FP16 around it if possible; with FP32 around it, it is not faster than FP16.
    Raises OptionError if the requested precision cannot be built from any of the artifacts.
    """
    features = features_of(trt)
    by_precision = {artifact.info.precision: artifact for artifact in artifacts}
    asked = options.precision
    check_format(options, features)
    ladder = LADDERS["int8_fp16" if asked == "int8" else asked]
    rungs = []
    for precision in ladder:
        needed = source_precision(precision, features)
        source = by_precision.get(needed)
        if source is not None:
            rungs.append(PrecisionCandidate(replace(options, precision=precision), source))
        elif precision == asked:
            raise OptionError(
                f"{precision} on TensorRT {features.version} needs the {needed} artifact: "
                f"{how_to_make(needed)}"
            )
        elif asked == "int8" and precision == "int8_fp16":
            logger.warning(
                "the layers of %s that are not INT8 run in fp32, which is slow: TensorRT %s needs "
                "the int8_fp16 artifact for fp16 there: %s",
                artifacts[0].info.model,
                features.version,
                how_to_make(needed),
            )
    return rungs
