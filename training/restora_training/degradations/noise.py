"""Gaussian and Poisson noise of batches, in color or gray."""

from typing import Protocol

import torch
from torch import Tensor

_GRAY = (0.2989, 0.587, 0.114)


class NoiseSource(Protocol):
    """Where random tensors come from."""

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal values, float32."""
        ...

    def poisson(self, rates: Tensor) -> Tensor:
        """Counts, float32, of the shape of `rates`."""
        ...


class SeededNoise:
    """Random tensors from a seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def poisson(self, rates: Tensor) -> Tensor:
        return torch.poisson(rates, generator=self.generator)


def add_gaussian_noise(images: Tensor, sigma: Tensor, gray: Tensor, source: NoiseSource) -> Tensor:
    """Add noise and clip to 0..1.

    images: (batch, 3, height, width), 0..1
    sigma: (batch,), standard deviation in levels of 255
    gray: (batch,), bool: the same noise in all channels. Gray noise is one map for the whole batch,
        as in the published code
    """
    batch, channels, height, width = images.shape
    strength = (sigma / 255).view(batch, 1, 1, 1)
    map_of_gray = source.normal((height, width)) if gray.any() else torch.zeros(height, width)
    noise = source.normal((batch, channels, height, width))
    noise = torch.where(gray.view(batch, 1, 1, 1), map_of_gray, noise)
    return (images + noise * strength).clamp(0, 1)


def add_poisson_noise(images: Tensor, scale: Tensor, gray: Tensor, source: NoiseSource) -> Tensor:
    """Add shot noise and clip to 0..1.

    images: (batch, 3, height, width), 0..1
    scale: (batch,), factor on the noise
    gray: (batch,), bool: noise of the gray image, the same in all channels

    The number of photons of a full pixel is the number of distinct levels of the image, rounded up
    to a power of two.
    """
    rounded = _round_to_levels(images)
    noise_of_gray = torch.zeros(())
    if gray.any():
        weights = torch.tensor(_GRAY).view(1, 3, 1, 1)
        noise_of_gray = _shot_noise(_round_to_levels((images * weights).sum(1, True)), source)
    noise = _shot_noise(rounded, source)
    noise = torch.where(gray.view(-1, 1, 1, 1), noise_of_gray, noise)
    return (images + noise * scale.view(-1, 1, 1, 1)).clamp(0, 1)


def _shot_noise(images: Tensor, source: NoiseSource) -> Tensor:
    photons = torch.tensor([float(_next_power_of_two(len(x.unique()))) for x in images])
    photons = photons.view(-1, 1, 1, 1)
    return source.poisson(images * photons) / photons - images


def _round_to_levels(images: Tensor) -> Tensor:
    return (images * 255).round().clamp(0, 255) / 255


def _next_power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
