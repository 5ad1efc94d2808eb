"""The losses of the published training code, each a function of tensors."""

from restora_training.losses.adversarial import (
    GanKind,
    fake_loss,
    generator_loss,
    r1_penalty,
    real_loss,
)
from restora_training.losses.identity import gray_faces, identity_loss
from restora_training.losses.perceptual import (
    LAYER_WEIGHTS,
    PerceptualLoss,
    component_style_loss,
    gram_matrix,
)
from restora_training.losses.pixel import l1_loss, make_pyramid, pyramid_loss

__all__ = [
    "LAYER_WEIGHTS",
    "GanKind",
    "PerceptualLoss",
    "component_style_loss",
    "fake_loss",
    "generator_loss",
    "gram_matrix",
    "gray_faces",
    "identity_loss",
    "l1_loss",
    "make_pyramid",
    "pyramid_loss",
    "r1_penalty",
    "real_loss",
]
