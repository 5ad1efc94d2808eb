"""Clean photos and their degraded partners: read, or made by the blind degradation model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import OptionError
from restora_calibration.degrade import DegradationRange, degrade_photo, draw_degradation
from restora_calibration.folders import SUFFIXES, read_pixels, rng_of

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A clean photo and its degraded partner, uint8 RGB. name: of the clean file."""

    name: str
    clean: Pixels
    degraded: Pixels


def make_pairs(
    clean: list[Path], ranges: DegradationRange, *, seed: int, keep_size: bool
) -> Iterator[Pair]:
    """Degrade each photo with parameters of its own, drawn from its name and the seed: a photo's
    degradation does not depend on which others there are.

    keep_size  bring the degraded photo back to the clean one's size, as aligned faces are

    Raises ImageError for a file that is no picture.
    """
    for path in clean:
        pixels = read_pixels(path)
        rng = rng_of(seed, path.name)
        degraded = degrade_photo(pixels, draw_degradation(ranges, rng), rng)
        if keep_size:
            degraded = resize(degraded, pixels.shape[:2])
        yield Pair(path.name, pixels, degraded)


def read_pairs(clean: list[Path], degraded: Path) -> Iterator[Pair]:
    """Photos of two folders that share a name, with any picture suffix.

    Raises OptionError for a clean photo without a partner.
    """
    partners = {path.stem: path for path in degraded.iterdir() if path.suffix.lower() in SUFFIXES}
    missing = [path.name for path in clean if path.stem not in partners]
    if missing:
        raise OptionError(
            f"{len(missing)} of {len(clean)} clean photos have no partner in {degraded}, such as "
            f"{missing[0]}"
        )
    for path in clean:
        yield Pair(path.name, read_pixels(path), read_pixels(partners[path.stem]))


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """To (height, width): averaged if it shrinks, Lanczos if it grows."""
    height, width = size
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = height * width < pixels.shape[0] * pixels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)


def describe_ranges(ranges: DegradationRange) -> dict[str, tuple[float, float]]:
    return asdict(ranges)
