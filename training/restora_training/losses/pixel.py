"""Losses between pixels: L1, and L1 at every resolution of a U-Net."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def l1_loss(
    prediction: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Absolute differences.

    prediction, target: (batch, channels, height, width)
    weight: of each element, with the channels of the prediction or one channel. "mean" then divides
        by the sum of the weights, where a single channel counts once for every channel
    """
    difference = (prediction - target).abs()
    if weight is not None:
        difference = difference * weight
    if reduction == "none":
        return difference
    if reduction == "sum":
        return difference.sum()
    if weight is None:
        return difference.mean()
    return difference.sum() / weight.expand_as(difference).sum()


def make_pyramid(target: Tensor, smallest: int = 8) -> list[Tensor]:
    """The target at every resolution from `smallest` to its own, each half of the next.

    target: (batch, channels, side, side), a power of two
    """
    levels = [target]
    while levels[0].shape[-1] > smallest:
        levels.insert(0, F.interpolate(levels[0], scale_factor=0.5, mode="bilinear"))
    return levels


def pyramid_loss(predictions: Sequence[Tensor], pyramid: Sequence[Tensor]) -> Tensor:
    """Sum of the L1 losses of all resolutions.

    predictions: the RGB outputs of GFP-GAN's U-Net, smallest first, from 8 x 8
    pyramid: make_pyramid of the target
    """
    losses = [l1_loss(level, goal) for level, goal in zip(predictions, pyramid, strict=True)]
    return torch.stack(losses).sum()
