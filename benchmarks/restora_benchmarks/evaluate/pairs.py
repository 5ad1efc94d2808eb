"""Clean photos and their degraded partners: read, or made by the blind degradation model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restora import read_photo
from restora.errors import ImageError, OptionError
from restora_calibration.degrade import DegradationRange, degrade_photo, draw_degradation

Pixels = NDArray[np.uint8]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A clean photo and its degraded partner, uint8 RGB. name: of the clean file."""

    name: str
    clean: Pixels
    degraded: Pixels


def list_photos(folder: Path, *, share: float = 1.0, seed: int = 0) -> list[Path]:
    """The pictures of a folder by name, or a seeded sample of them.

    share  of the photos, 0..1; which ones are taken depends on names and seed alone

    Raises OptionError if there are none.
    """
    if not 0 < share <= 1:
        raise OptionError(f"the share of photos must be in 0..1, got {share}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise OptionError(f"there are no pictures in {folder}")
    if share == 1:
        return files
    count = max(1, round(len(files) * share))
    ranked = sorted(files, key=lambda path: hashlib.sha256(f"{seed} {path.name}".encode()).digest())
    return sorted(ranked[:count])


def make_pairs(
    clean: list[Path], ranges: DegradationRange, *, seed: int, keep_size: bool
) -> Iterator[Pair]:
    """Degrade each photo with parameters of its own, drawn from its name and the seed: a photo's
    degradation does not depend on which others there are.

    keep_size  bring the degraded photo back to the clean one's size, as aligned faces are

    Raises ImageError for a file that is no picture.
    """
    for path in clean:
        pixels = _read(path)
        digest = hashlib.sha256(f"{seed} {path.name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
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
        yield Pair(path.name, _read(path), _read(partners[path.stem]))


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


def _read(path: Path) -> Pixels:
    photo = read_photo(path)
    pixels = photo.pixels
    if pixels.dtype != np.uint8:
        raise ImageError(f"{path}: evaluation takes 8-bit photos")
    colour = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(colour, np.uint8)
