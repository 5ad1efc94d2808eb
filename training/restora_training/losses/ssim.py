"""Structural similarity as a loss."""

import torch
from torch import Tensor
from torch.nn import functional as F

_WINDOW = 7
_C1, _C2 = 0.01**2, 0.03**2


def measure_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of each image, (batch,), with uniform windows of 7 pixels.

    a, b: (batch, channels, height, width), 0..1

    Wang et al., "Image quality assessment", IEEE TIP 13(4), 2004.
    """
    maps = torch.stack((a, b, a * a, b * b, a * b))
    means = F.avg_pool2d(maps.flatten(0, 1), _WINDOW, 1)
    mean_a, mean_b, square_a, square_b, product = means.reshape(5, *a.shape[:2], *means.shape[2:])
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    alike = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    ssim: Tensor = alike / ((mean_a**2 + mean_b**2 + _C1) * (variances + _C2))
    return ssim.mean((1, 2, 3))
