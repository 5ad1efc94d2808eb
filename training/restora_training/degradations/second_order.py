"""The second-order degradation of Real-ESRGAN: blur, resize, noise and JPEG, twice.

Wang et al., arXiv:2107.10833, section 3; the ranges are those of the published option files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restora_training.degradations.filters import filter_batch
from restora_training.degradations.jpeg import compress_batch
from restora_training.degradations.kernels import (
    KernelRange,
    draw_blur_kernel,
    make_sinc_kernel,
    pad_kernel,
)
from restora_training.degradations.noise import (
    NoiseSource,
    add_gaussian_noise,
    add_poisson_noise,
)

ResizeMode = Literal["area", "bilinear", "bicubic"]
MODES: tuple[ResizeMode, ...] = ("area", "bilinear", "bicubic")

_SIZES = tuple(range(7, 22, 2))


def _kernels(sigma: tuple[float, float]) -> KernelRange:
    return KernelRange(
        sizes=_SIZES,
        shapes=(
            ("gaussian", True, 0.45),
            ("gaussian", False, 0.25),
            ("generalized", True, 0.12),
            ("generalized", False, 0.03),
            ("plateau", True, 0.12),
            ("plateau", False, 0.03),
        ),
        sigma=sigma,
        sinc=0.1,
    )


@dataclass(frozen=True, slots=True)
class StageRange:
    """Uniform ranges and probabilities of one of the two stages.

    resize_chances: probabilities to enlarge, shrink, and keep the size
    resize: smallest and largest factor
    gaussian_chance: probability of Gaussian noise; Poisson noise otherwise
    noise: standard deviation in levels of 255; poisson: factor on shot noise
    """

    kernel: KernelRange
    blur_chance: float
    resize_chances: tuple[float, float, float]
    resize: tuple[float, float]
    noise: tuple[float, float]
    poisson: tuple[float, float]
    gaussian_chance: float = 0.5
    gray_chance: float = 0.4
    quality: tuple[float, float] = (30.0, 95.0)


@dataclass(frozen=True, slots=True)
class SecondOrderRange:
    """final_sinc_chance: probability of the last sinc filter."""

    first: StageRange = StageRange(
        _kernels((0.2, 3.0)), 1.0, (0.2, 0.7, 0.1), (0.15, 1.5), (1.0, 30.0), (0.05, 3.0)
    )
    second: StageRange = StageRange(
        _kernels((0.2, 1.5)), 0.8, (0.3, 0.4, 0.3), (0.3, 1.2), (1.0, 25.0), (0.05, 2.5)
    )
    final_sinc_chance: float = 0.8


@dataclass(frozen=True, slots=True)
class Stage:
    """The parameters of one stage, for a batch.

    kernels: (batch, size, size), or (1, size, size) for all; None does not blur
    factor, mode: of the resizing
    noise: kind; strength: (batch,), in the unit of the kind; gray: (batch,), bool
    quality: (batch,), of JPEG
    """

    kernels: Tensor | None
    factor: float
    mode: ResizeMode
    noise: Literal["gaussian", "poisson"]
    strength: Tensor
    gray: Tensor
    quality: Tensor


@dataclass(frozen=True, slots=True)
class SecondOrder:
    """The parameters of a degradation of a batch.

    sinc: kernels of the last filter; an impulse does not filter
    back_mode: of the resizing to the final size
    jpeg_last: compress after the resizing and the filter, and otherwise before them
    """

    first: Stage
    second: Stage
    sinc: Tensor
    back_mode: ResizeMode
    jpeg_last: bool


def draw_second_order(
    ranges: SecondOrderRange, batch: int, rng: np.random.Generator
) -> SecondOrder:
    """Draw the parameters for a batch."""
    kernels = []
    for _ in range(batch):
        size = int(rng.choice(_SIZES))
        kernel = np.ones((1, 1))
        if rng.uniform() < ranges.final_sinc_chance:
            kernel = make_sinc_kernel(size, float(rng.uniform(np.pi / 3, np.pi)))
        kernels.append(pad_kernel(kernel, _SIZES[-1]))
    return SecondOrder(
        first=_draw_stage(ranges.first, batch, rng),
        second=_draw_stage(ranges.second, batch, rng),
        sinc=_stack(kernels),
        back_mode=_draw_mode(rng),
        jpeg_last=bool(rng.uniform() < 0.5),
    )


def degrade_batch(clean: Tensor, how: SecondOrder, *, scale: int, source: NoiseSource) -> Tensor:
    """Degrade a batch.

    clean: (batch, 3, height, width), RGB, 0..1, sides multiples of scale. Real-ESRGAN degrades the
        sharpened images (filters.sharpen_batch)
    source: of the noise

    Returns (batch, 3, height // scale, width // scale), rounded to levels of 255.
    Raises ValueError if a stage makes the images too small for its kernel.
    """
    height, width = clean.shape[2:]
    images = _blur(clean, how.first.kernels)
    images = F.interpolate(images, scale_factor=how.first.factor, mode=how.first.mode)
    images = _add_noise(images, how.first, source)
    images = compress_batch(images.clamp(0, 1), how.first.quality)

    images = _blur(images, how.second.kernels)
    factor = how.second.factor / scale
    size = (int(height * factor), int(width * factor))
    images = F.interpolate(images, size, mode=how.second.mode)
    images = _add_noise(images, how.second, source)

    if not how.jpeg_last:
        images = compress_batch(images.clamp(0, 1), how.second.quality)
    images = F.interpolate(images, (height // scale, width // scale), mode=how.back_mode)
    images = filter_batch(images, how.sinc.to(images))
    if how.jpeg_last:
        images = compress_batch(images.clamp(0, 1), how.second.quality)
    return (images.clamp(0, 1) * 255).round() / 255


def crop_pairs(
    degraded: Tensor, clean: Tensor, *, top: int, left: int, side: int, scale: int
) -> tuple[Tensor, Tensor]:
    """Cut the same square out of both; top, left and side in pixels of the degraded images."""
    small = degraded[:, :, top : top + side, left : left + side]
    rows = slice(top * scale, (top + side) * scale)
    columns = slice(left * scale, (left + side) * scale)
    return small, clean[:, :, rows, columns]


def _blur(images: Tensor, kernels: Tensor | None) -> Tensor:
    return images if kernels is None else filter_batch(images, kernels.to(images))


def _add_noise(images: Tensor, stage: Stage, source: NoiseSource) -> Tensor:
    add = add_gaussian_noise if stage.noise == "gaussian" else add_poisson_noise
    return add(images, stage.strength, stage.gray, source)


def _draw_stage(ranges: StageRange, batch: int, rng: np.random.Generator) -> Stage:
    kernels = None
    if rng.uniform() < ranges.blur_chance:
        kernels = _stack([draw_blur_kernel(ranges.kernel, rng) for _ in range(batch)])
    low, high = ranges.resize
    change = int(rng.choice(3, p=ranges.resize_chances))
    factor = (rng.uniform(1, high), rng.uniform(low, 1), 1.0)[change]
    gaussian = rng.uniform() < ranges.gaussian_chance
    strength = rng.uniform(*(ranges.noise if gaussian else ranges.poisson), batch)
    return Stage(
        kernels=kernels,
        factor=float(factor),
        mode=_draw_mode(rng),
        noise="gaussian" if gaussian else "poisson",
        strength=torch.from_numpy(strength).float(),
        gray=torch.from_numpy(rng.uniform(size=batch) < ranges.gray_chance),
        quality=torch.from_numpy(rng.uniform(*ranges.quality, batch)).float(),
    )


def _draw_mode(rng: np.random.Generator) -> ResizeMode:
    return MODES[int(rng.integers(len(MODES)))]


def _stack(kernels: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(kernels)).float()
