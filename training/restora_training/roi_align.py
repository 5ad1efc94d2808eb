"""Differentiable crops of boxes, resized to one size.

The same function as torchvision.ops.roi_align with aligned=False and sampling_ratio=-1 (He et al.,
Mask R-CNN, arXiv:1703.06870, section 3). Bilinear samples on a grid are separable, so each crop is
two small matrix products. Written here because torchvision's operators exist only in builds that
match the installed torch: its wheel in the package index needs CUDA's.
"""

import math

import torch
from torch import Tensor


def roi_align(images: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Crop one box of each image.

    images: (batch, channels, height, width)
    boxes: (batch, 4): left, top, right, bottom in pixels, where pixel i covers i - 0.5 .. i + 0.5.
        Boxes may reach beyond the image, whose pixels are repeated up to 1 pixel outside and zero
        from there on

    Returns (batch, channels, side, side). Gradients reach the images, not the boxes.
    """
    if boxes.shape != (len(images), 4):
        raise ValueError(f"boxes must have shape ({len(images)}, 4), got {tuple(boxes.shape)}")
    height, width = images.shape[2:]
    crops = []
    for image, (left, top, right, bottom) in zip(images, boxes.tolist(), strict=True):
        rows = _sampling_matrix(top, bottom, height, side).to(images)
        columns = _sampling_matrix(left, right, width, side).to(images)
        crops.append(rows @ image @ columns.T)
    return torch.stack(crops)


def _sampling_matrix(start: float, stop: float, length: int, side: int) -> Tensor:
    """(side, length): weights of the pixels of one axis in each element of the crop."""
    extent = max(stop - start, 1.0)
    samples = math.ceil(extent / side)  # of each element
    step = extent / side / samples
    positions = start + (torch.arange(side * samples, dtype=torch.float64) + 0.5) * step
    inside = ((positions >= -1) & (positions <= length)).double()
    clamped = positions.clamp(0, length - 1)
    low = clamped.floor().long()
    high = (low + 1).clamp(max=length - 1)
    share = (clamped - low) * inside
    matrix = torch.zeros(side * samples, length, dtype=torch.float64)
    index = torch.arange(side * samples)
    matrix[index, low] += inside - share
    matrix[index, high] += share
    return matrix.view(side, samples, length).mean(1)
