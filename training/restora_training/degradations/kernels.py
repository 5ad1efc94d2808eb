"""Blur kernels: Gaussian, generalized Gaussian, plateau and sinc.

Real-ESRGAN, arXiv:2107.10833, sections 3.1 and 3.2; the generalized and plateau shapes: Liu et al.,
arXiv:2003.07849.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1

Kernel = NDArray[np.float64]
Shape = Literal["gaussian", "generalized", "plateau"]


@dataclass(frozen=True, slots=True)
class KernelRange:
    """Uniform ranges to draw a kernel from.

    sizes: odd sides, drawn evenly
    shapes: (shape, isotropic, probability); the probabilities add up to 1
    sigma: standard deviation along each axis, in pixels
    generalized_beta, plateau_beta: exponent; drawn below 1 as often as above
    sinc: probability of a sinc kernel instead
    """

    sizes: tuple[int, ...]
    shapes: tuple[tuple[Shape, bool, float], ...]
    sigma: tuple[float, float]
    generalized_beta: tuple[float, float] = (0.5, 4.0)
    plateau_beta: tuple[float, float] = (1.0, 2.0)
    sinc: float = 0.0


def make_blur_kernel(
    size: int,
    *,
    sigma: tuple[float, float],
    theta: float = 0.0,
    shape: Shape = "gaussian",
    beta: float = 1.0,
) -> Kernel:
    """A kernel of (size, size) that sums to 1.

    sigma: standard deviations in pixels, along the axis at angle theta and across it
    theta: radians
    beta: exponent of the quadratic form; 1 makes the generalized shape a Gaussian
    """
    along, across = sigma
    cos, sin = math.cos(theta), math.sin(theta)
    rotation = np.array([[cos, -sin], [sin, cos]])
    inverse = np.linalg.inv(rotation @ np.diag([along**2, across**2]) @ rotation.T)
    axis = np.arange(size) - size // 2
    grid = np.stack(np.meshgrid(axis, axis), -1).astype(np.float64)
    distance = np.einsum("yxi,ij,yxj->yx", grid, inverse, grid)
    if shape == "plateau":
        kernel = 1 / (1 + distance**beta)
    else:
        kernel = np.exp(-0.5 * distance ** (beta if shape == "generalized" else 1.0))
    return np.asarray(kernel / kernel.sum())


def make_sinc_kernel(size: int, cutoff: float) -> Kernel:
    """A circular low-pass filter of (size, size), which rings like a sharpened or compressed photo.

    cutoff: radians per pixel, at most pi
    """
    axis = np.arange(size) - (size - 1) / 2
    radius = np.hypot(*np.meshgrid(axis, axis))
    with np.errstate(divide="ignore", invalid="ignore"):
        kernel = cutoff * j1(cutoff * radius) / (2 * np.pi * radius)
    kernel[radius == 0] = cutoff**2 / (4 * np.pi)
    return np.asarray(kernel / kernel.sum())


def pad_kernel(kernel: Kernel, size: int) -> Kernel:
    """The kernel in the middle of zeros, (size, size)."""
    margin = (size - len(kernel)) // 2
    return np.pad(kernel, margin)


def draw_blur_kernel(ranges: KernelRange, rng: np.random.Generator) -> Kernel:
    """Draw a kernel, padded to the largest size."""
    size = int(rng.choice(ranges.sizes))
    largest = max(ranges.sizes)
    if rng.uniform() < ranges.sinc:
        return pad_kernel(make_sinc_kernel(size, draw_cutoff(size, rng)), largest)
    chances = [chance for _, _, chance in ranges.shapes]
    shape, isotropic, _ = ranges.shapes[int(rng.choice(len(chances), p=chances))]
    along = rng.uniform(*ranges.sigma)
    across = along if isotropic else rng.uniform(*ranges.sigma)
    theta = 0.0 if isotropic else rng.uniform(-math.pi, math.pi)
    beta = 1.0
    if shape == "generalized":
        beta = _draw_beta(ranges.generalized_beta, rng)
    elif shape == "plateau":
        beta = _draw_beta(ranges.plateau_beta, rng)
    kernel = make_blur_kernel(size, sigma=(along, across), theta=theta, shape=shape, beta=beta)
    return pad_kernel(kernel, largest)


def draw_cutoff(size: int, rng: np.random.Generator) -> float:
    """A cutoff that a kernel of this size can hold."""
    return float(rng.uniform(math.pi / 3 if size < 13 else math.pi / 5, math.pi))


def _draw_beta(ranges: tuple[float, float], rng: np.random.Generator) -> float:
    low, high = ranges
    below = rng.uniform() < 0.5
    return float(rng.uniform(low, 1) if below else rng.uniform(1, high))
