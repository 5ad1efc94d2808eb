"""Filters on batches of images: a kernel for each image, and sharpening."""

from functools import cache

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

_SHARPEN_SIZE = 51
_SHARPEN_WEIGHT = 0.5
_SHARPEN_THRESHOLD = 10  # of 255


def filter_batch(images: Tensor, kernels: Tensor) -> Tensor:
    """Correlate images with kernels; the border is reflected without repeating the edge pixel.

    images: (batch, channels, height, width), sides above half the kernel
    kernels: (batch, size, size), or (1, size, size) for all images; size is odd

    Raises ValueError for images that are too small.
    """
    batch, channels, height, width = images.shape
    size = kernels.shape[-1]
    if min(height, width) <= size // 2:
        raise ValueError(
            f"a kernel of {size} needs images of more than {size // 2} pixels a side, "
            f"got {height} x {width}"
        )
    padded = F.pad(images, [size // 2] * 4, mode="reflect")
    padded = padded.reshape(1, batch * channels, *padded.shape[2:])
    weight = kernels.expand(batch, size, size).repeat_interleave(channels, 0).unsqueeze(1)
    return F.conv2d(padded, weight, groups=batch * channels).view(batch, channels, height, width)


def sharpen_batch(images: Tensor) -> Tensor:
    """Unsharp masking where the image differs from its blurred self by more than 10 levels.

    images: (batch, 3, height, width), 0..1, sides above 25. Real-ESRGAN sharpens its targets so
    that the network learns crisp edges (arXiv:2107.10833, section 3.4).
    """
    kernel = _sharpen_kernel().to(images)
    residual = images - filter_batch(images, kernel)
    mask = (residual.abs() * 255 > _SHARPEN_THRESHOLD).to(images)
    soft_mask = filter_batch(mask, kernel)
    sharp = (images + _SHARPEN_WEIGHT * residual).clamp(0, 1)
    return soft_mask * sharp + (1 - soft_mask) * images


@cache
def _sharpen_kernel() -> Tensor:
    row = torch.from_numpy(cv2.getGaussianKernel(_SHARPEN_SIZE, 0)).flatten()
    return torch.outer(row, row).unsqueeze(0).float()
