"""The blind degradation model: m = ((n * k_sigma) down r + n_delta) JPEG_q.

Gaussian blur, downsampling, noise and compression: GFP-GAN, arXiv:2101.04061, section 4.1.
Training, calibration and evaluation use this module.
"""

from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Photo = NDArray[np.uint8]

SHRINK_FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.BOX, Image.Resampling.BILINEAR)


@dataclass(frozen=True, slots=True)
class DegradationRange:
    """Uniform, closed ranges of the four parameters.

    sigma: standard deviation of the Gaussian blur, in pixels of the clean photo
    shrink: downsampling factor r
    noise: standard deviation of the Gaussian noise, in gray levels of 255
    quality: JPEG quality, 1..100
    """

    sigma: tuple[float, float]
    shrink: tuple[float, float]
    noise: tuple[float, float]
    quality: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Degradation:
    """Parameters of a degradation, in the units of DegradationRange. Without quality, no JPEG."""

    sigma: float
    shrink: float
    noise: float
    quality: int | None
    shrink_filter: Image.Resampling = Image.Resampling.BICUBIC


MILD = DegradationRange(sigma=(0.2, 2.0), shrink=(2, 2), noise=(0, 10), quality=(60, 100))
FACES = DegradationRange(sigma=(0.2, 10.0), shrink=(1, 8), noise=(0, 15), quality=(60, 100))
CLEAN_X2 = Degradation(sigma=0, shrink=2, noise=0, quality=None)


def draw_degradation(ranges: DegradationRange, rng: np.random.Generator) -> Degradation:
    return Degradation(
        sigma=rng.uniform(*ranges.sigma),
        shrink=rng.uniform(*ranges.shrink),
        noise=rng.uniform(*ranges.noise),
        quality=int(rng.integers(ranges.quality[0], ranges.quality[1] + 1)),
        shrink_filter=SHRINK_FILTERS[int(rng.integers(len(SHRINK_FILTERS)))],
    )


def degrade_photo(photo: Photo, how: Degradation, rng: np.random.Generator) -> Photo:
    """Degrade a photo.

    photo: uint8 RGB, (height, width, 3)
    rng: generates the noise

    Returns uint8 RGB of (round(height / shrink), round(width / shrink), 3), at least 1 x 1.
    """
    height, width = photo.shape[:2]
    if how.sigma > 0:
        photo = cv2.GaussianBlur(photo, (0, 0), how.sigma).astype(np.uint8, copy=False)
    if how.shrink != 1:
        size = (max(1, round(width / how.shrink)), max(1, round(height / how.shrink)))
        photo = np.asarray(Image.fromarray(photo).resize(size, how.shrink_filter))
    if how.noise > 0:
        noise = rng.normal(0, how.noise, photo.shape)
        photo = np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)
    if how.quality is not None:
        photo = _recompress(photo, how.quality)
    return photo


def _recompress(photo: Photo, quality: int) -> Photo:
    stream = BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))
