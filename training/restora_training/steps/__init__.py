"""One iteration of training: forward, losses, backward, optimizer steps."""

from restora_training.steps.face import FaceStep, FaceWeights
from restora_training.steps.upscaler import UpscalerStep, UpscalerWeights

__all__ = ["FaceStep", "FaceWeights", "UpscalerStep", "UpscalerWeights"]
