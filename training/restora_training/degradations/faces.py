"""The degradation of faces in GFP-GAN's training.

x = [((y * k) down r + n) JPEG q] up r, arXiv:2101.04061, section 4.1; then changes of color.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from restora_training.degradations.color import (
    Pixels,
    adjust_in_order,
    make_gray,
    shift_channels,
)
from restora_training.degradations.kernels import (
    Kernel,
    KernelRange,
    Shape,
    draw_blur_kernel,
)

Photo = NDArray[np.uint8]


_SHAPES: tuple[tuple[Shape, bool, float], ...] = (("gaussian", True, 0.5), ("gaussian", False, 0.5))
_PUBLISHED_KERNEL = KernelRange(sizes=(41,), shapes=_SHAPES, sigma=(0.1, 10.0))
_PAPER_KERNEL = KernelRange(sizes=(41,), shapes=_SHAPES, sigma=(0.2, 10.0))
_ADJUSTED = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True, slots=True)
class FaceRange:
    """Uniform ranges and probabilities of the published options.

    kernel: of the blur
    shrink: downsampling factor r
    noise: standard deviation, in levels of 255
    quality: JPEG quality
    shift: largest shift of a channel, in levels of 255; shift_chance: its probability
    adjust_chance: probability of changes of brightness, contrast, saturation and hue
    gray_chance: probability that the degraded face is gray
    """

    kernel: KernelRange = _PUBLISHED_KERNEL
    shrink: tuple[float, float] = (0.8, 8.0)
    noise: tuple[float, float] = (0.0, 20.0)
    quality: tuple[float, float] = (60.0, 100.0)
    shift: float = 20.0
    shift_chance: float = 0.3
    adjust_chance: float = 0.3
    gray_chance: float = 0.01
    brightness: tuple[float, float] = (0.5, 1.5)
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.0, 1.5)
    hue: tuple[float, float] = (-0.1, 0.1)


# of the paper on the joint framework, equation 11
PAPER = FaceRange(kernel=_PAPER_KERNEL, shrink=(1.0, 8.0), noise=(0.0, 15.0))


@dataclass(frozen=True, slots=True)
class FaceDegradation:
    """The parameters of one degradation.

    kernel: (size, size)
    noise: standard deviation in levels of 255
    quality: whole JPEG quality
    shift: (3,), of R, G and B in 0..1; None leaves them
    factors: of color.ADJUSTMENTS, in their order; empty leaves the colors
    """

    kernel: Kernel
    shrink: float
    noise: float
    quality: int
    shift: NDArray[np.floating] | None = None
    gray: bool = False
    factors: Mapping[str, float] = field(default_factory=dict)


def draw_face_degradation(ranges: FaceRange, rng: np.random.Generator) -> FaceDegradation:
    """Draw the parameters of one degradation."""
    shift = None
    if rng.uniform() < ranges.shift_chance:
        shift = rng.uniform(-ranges.shift, ranges.shift, 3) / 255
    factors: dict[str, float] = {}
    if rng.uniform() < ranges.adjust_chance:
        for name in (_ADJUSTED[index] for index in rng.permutation(len(_ADJUSTED))):
            factors[name] = float(rng.uniform(*getattr(ranges, name)))
    return FaceDegradation(
        kernel=draw_blur_kernel(ranges.kernel, rng),
        shrink=rng.uniform(*ranges.shrink),
        noise=rng.uniform(*ranges.noise),
        quality=int(rng.uniform(*ranges.quality)),
        shift=shift,
        gray=bool(rng.uniform() < ranges.gray_chance),
        factors=factors,
    )


def shrink_face(face: Photo, how: FaceDegradation) -> Pixels:
    """Blur and downsample: float32 RGB, 0..1, of (int(height // r), int(width // r), 3).

    face: uint8 RGB, (height, width, 3)
    """
    height, width = face.shape[:2]
    pixels = face.astype(np.float32) / 255
    blurred = cv2.filter2D(pixels, -1, how.kernel)
    size = (max(1, int(width // how.shrink)), max(1, int(height // how.shrink)))
    small = cv2.resize(blurred, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(small, np.float32)


def degrade_face(face: Photo, how: FaceDegradation, noise: NDArray[np.floating]) -> Photo:
    """Degrade a face.

    face: uint8 RGB, (height, width, 3)
    noise: standard normal, of the shape of shrink_face

    Returns uint8 RGB of the same size.
    """
    height, width = face.shape[:2]
    noisy = shrink_face(face, how) + noise.astype(np.float32) * np.float32(how.noise / 255)
    small = compress_photo(np.clip(noisy, 0, 1), how.quality).astype(np.float32) / 255
    resized = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    pixels = np.asarray(resized, np.float32)
    if how.shift is not None:
        pixels = shift_channels(pixels, how.shift)
    if how.gray:
        pixels = make_gray(pixels)
    pixels = adjust_in_order(pixels, how.factors)
    return np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)


def compress_photo(pixels: Pixels, quality: int) -> Photo:
    """JPEG by OpenCV, 4:2:0; values are rounded half to even first."""
    levels = np.rint(pixels * 255).astype(np.uint8)
    bgr = cv2.cvtColor(levels, cv2.COLOR_RGB2BGR)
    written, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert written
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
