"""Photos of the benchmark: mixed sizes, as people upload them, cut from the bundled sample."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from restora import Photo, read_photo, write_photo

# width, height, and how many of twenty photos have them
MIXED = ((128, 128, 8), (256, 256, 6), (480, 360, 4), (800, 600, 2))
THUMBNAIL = (160, 120)
TINY = (32, 24)
_SAMPLE = Path(__file__).parents[3] / "engine" / "restora" / "data" / "sample.jpg"


def make_photos(folder: Path, count: int) -> list[Path]:
    """Files of mixed sizes, in an order that mixes them."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [(width, height) for width, height, parts in MIXED for _ in range(parts)]
    paths = []
    for number in range(count):
        # seven and twenty have no common factor: all sizes come, mixed
        width, height = sizes[7 * number % len(sizes)]
        path = folder / f"{number:04}.jpg"
        write_photo(_photo(width, height, number), path)
        paths.append(path)
    return paths


def make_photo(path: Path, size: tuple[int, int]) -> Path:
    write_photo(_photo(*size, 0), path)
    return path


def _photo(width: int, height: int, number: int) -> Photo:
    """The sample, turned and enlarged to this size."""
    pixels = np.rot90(read_photo(_SAMPLE).pixels, number % 4)
    sized = cv2.resize(np.ascontiguousarray(pixels), (width, height))
    return Photo(np.asarray(sized, np.uint8))
