"""JPEG compression of a batch of tensors, with gradients where they are asked for.

Shin and Song, "JPEG-resistant Adversarial Images", 2017; the arithmetic is that of Real-ESRGAN's
training code: 4:2:0, quantization tables transposed against the standard and not rounded, sides
padded with zeros to multiples of 16.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK = 8
_MULTIPLE = 16
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA = (
    (17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99),
)  # fmt: skip
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def compress_batch(images: Tensor, quality: Tensor, *, differentiable: bool = False) -> Tensor:
    """Compress and decompress images.

    images: (batch, 3, height, width), RGB, 0..1
    quality: (batch,), 1..100
    differentiable: round coefficients with a cubic that has a gradient

    Returns the same shape, 0..1.
    """
    height, width = images.shape[2:]
    padded = F.pad(images * 255, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE))
    planes = torch.einsum("ij,bjhw->bihw", _matrix(_TO_YCBCR), padded)
    planes = planes + _chroma_shift()
    luma, chroma = planes[:, :1], F.avg_pool2d(planes[:, 1:], 2)
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50).view(-1, 1, 1, 1, 1, 1)
    luma = _compress_plane(luma, _luma_table() * factor, differentiable)
    chroma = _compress_plane(chroma, _chroma_table() * factor, differentiable)
    chroma = F.interpolate(chroma, scale_factor=2, mode="nearest")
    planes = torch.cat((luma, chroma), 1) - _chroma_shift()
    result = torch.einsum("ij,bjhw->bihw", _matrix(_TO_RGB), planes)
    return result[:, :, :height, :width].clamp(0, 255) / 255


def _compress_plane(planes: Tensor, table: Tensor, differentiable: bool) -> Tensor:
    batch, channels, height, width = planes.shape
    blocks = planes.view(batch, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    blocks = blocks.transpose(3, 4) - 128
    basis = _cosines()
    coefficients = basis @ blocks @ basis.T / table
    rounded = coefficients.round()
    if differentiable:
        rounded = rounded + (coefficients - rounded) ** 3
    blocks = basis.T @ (rounded * table) @ basis + 128
    return blocks.transpose(3, 4).reshape(batch, channels, height, width)


@cache
def _cosines() -> Tensor:
    """The orthonormal basis of the DCT, (frequency, position)."""
    frequency = torch.arange(_BLOCK, dtype=torch.float64).view(-1, 1)
    position = torch.arange(_BLOCK, dtype=torch.float64)
    basis = torch.cos((2 * position + 1) * frequency * math.pi / (2 * _BLOCK)) / 2
    basis[0] /= math.sqrt(2)
    return basis.float()


@cache
def _luma_table() -> Tensor:
    return torch.tensor(_LUMA, dtype=torch.float32).T


@cache
def _chroma_table() -> Tensor:
    table = torch.full((_BLOCK, _BLOCK), 99.0)
    table[:4, :4] = torch.tensor(_CHROMA, dtype=torch.float32).T
    return table


@cache
def _chroma_shift() -> Tensor:
    return torch.tensor([0.0, 128.0, 128.0]).view(1, 3, 1, 1)


@cache
def _matrix(rows: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.tensor(rows)
