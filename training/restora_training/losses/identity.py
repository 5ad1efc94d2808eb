"""The identity loss: a restored face has the embedding of the true one."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restora_training.extractors.arcface import SIDE
from restora_training.losses.pixel import l1_loss

_GRAY = (0.2989, 0.5870, 0.1140)  # BT.601, rounded as the published code does


def gray_faces(faces: Tensor, side: int = SIDE) -> Tensor:
    """Gray images (batch, 1, side, side) for ResNetArcFace.

    faces: (batch, 3, height, width), RGB, -1..1. The bilinear resampling has no antialiasing, like
        the published one: 512 to 128 pixels reads the two middle pixels of four.
    """
    red, green, blue = (weight * faces[:, c : c + 1] for c, weight in enumerate(_GRAY))
    gray = red + green + blue
    return F.interpolate(gray, (side, side), mode="bilinear", align_corners=False)


def identity_loss(network: nn.Module, prediction: Tensor, target: Tensor) -> Tensor:
    """L1 between the embeddings of two batches of faces.

    network: a ResNetArcFace in eval mode
    prediction, target: (batch, 3, height, width), RGB, -1..1; no gradient reaches the target
    """
    with torch.no_grad():
        wanted = network(gray_faces(target))
    return l1_loss(network(gray_faces(prediction)), wanted)
