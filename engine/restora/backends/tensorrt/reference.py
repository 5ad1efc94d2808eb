"""The reference for plans whose sizes exclude the image of the self-check."""

from __future__ import annotations

from typing import Any

import numpy as np

from restora.backends.tensorrt.cache import CachedPlan
from restora.backends.tensorrt.check import PrecisionCandidate
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.engine_step import Batch, PlanRunner
from restora.backends.tensorrt.stored_plans import profile_of


class Reference:
    """Runs images on a plan that has passed, which is loaded for each call only, so that builds
    have the memory of the GPU for themselves."""

    def __init__(
        self, trt: Any, device: Device, plan: CachedPlan, rung: PrecisionCandidate
    ) -> None:
        self._trt, self._device, self._plan, self._rung = trt, device, plan, rung

    def run(self, batch: Batch) -> Batch:
        """Run a batch, image by image."""
        rung = self._rung
        with PlanRunner(
            self._trt,
            self._device,
            self._plan.plan,
            info=rung.artifact.info,
            profile=profile_of(self._plan),
            onnx=rung.artifact.onnx if rung.options.strip_weights else None,
            version_compatible=rung.options.version_compatible,
        ) as runner:
            return np.concatenate([runner.run(image[None])[0] for image in batch])
