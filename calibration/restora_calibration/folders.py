"""List and read the photos of a folder, and seed random choices by their names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restora import read_photo
from restora.errors import ImageError, OptionError

Pixels = NDArray[np.uint8]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def list_photos(folder: Path, *, share: float = 1.0, seed: int = 0) -> list[Path]:
    """List the photos of a folder by name, or a seeded sample of them.

    share: share of the photos, 0..1; the sample depends only on the names and the seed

    Raises OptionError if there are no photos.
    """
    if not 0 < share <= 1:
        raise OptionError(f"the share of photos must be in 0..1, got {share}")
    if not folder.is_dir():
        raise OptionError(f"there is no folder {folder}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise OptionError(f"there are no photos in {folder}")
    if share == 1:
        return files
    count = max(1, round(len(files) * share))
    ranked = sorted(files, key=lambda path: digest_of(seed, path.name))
    return sorted(ranked[:count])


def read_pixels(path: Path) -> Pixels:
    """Read a photo as uint8 RGB, (height, width, 3). Raises ImageError, also for 16-bit photos."""
    photo = read_photo(path)
    pixels = photo.pixels
    if pixels.dtype != np.uint8:
        raise ImageError(f"{path} must be an 8-bit photo, it has 16 bits")
    color = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(color, np.uint8)


def digest_of(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def rng_of(seed: int, name: str) -> np.random.Generator:
    """A random generator for a photo, which does not depend on the other photos."""
    return np.random.default_rng(int.from_bytes(digest_of(seed, name)[:8], "little"))
