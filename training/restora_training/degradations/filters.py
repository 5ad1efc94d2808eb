"""Filters on batches of images: a kernel for each image, and sharpening."""

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

_SHARPEN_SIZE = 51
_SHARPEN_WEIGHT = 0.5
_SHARPEN_THRESHOLD = 10  # of 255


def filter_batch(images: Tensor, kernels: Tensor) -> Tensor:
    """Correlate images with kernels; the border is reflected without repeating the edge pixel.

    images: (batch, channels, height, width), sides above half the kernel, in main memory
    kernels: (batch, size, size), or (1, size, size) for all images; size is odd

    Raises ValueError for images that are too small.
    """
    batch, _, height, width = images.shape
    size = kernels.shape[-1]
    if min(height, width) <= size // 2:
        raise ValueError(
            f"a kernel of {size} needs images of more than {size // 2} pixels a side, "
            f"got {height} x {width}"
        )
    wide = kernels.expand(batch, size, size)
    return torch.stack([_filter(image, kernel) for image, kernel in zip(images, wide, strict=True)])


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


def _filter(image: Tensor, kernel: Tensor) -> Tensor:
    # OpenCV filters with a Fourier transform: for large kernels 20 times as fast as a convolution
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    filtered = cv2.filter2D(pixels, -1, kernel.numpy(), borderType=cv2.BORDER_REFLECT_101)
    return torch.from_numpy(filtered.reshape(pixels.shape)).permute(2, 0, 1)


@cache
def _sharpen_kernel() -> Tensor:
    row = torch.from_numpy(cv2.getGaussianKernel(_SHARPEN_SIZE, 0)).flatten()
    return torch.outer(row, row).unsqueeze(0).float()
