"""Pictures to run networks on."""

from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

# faces, an animal, a machine, a still life, buildings, print; neither flat nor only texture
_PHOTOS = ("astronaut", "coffee", "chelsea", "rocket", "grace_hopper", "text")


def make_pictures(shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Smooth pictures with noise, neither constants nor pure noise; the same for every call.

    shape  (pictures, height, width, 3)
    """
    count, height, width, _ = shape
    rng = np.random.default_rng(20190219)
    rows, cols = np.mgrid[:height, :width]
    waves = np.stack(
        [np.sin(rows / (7 + c) + c) * np.cos(cols / (11 + 2 * c)) for c in range(3)], 2
    )
    noise = rng.normal(0, 6, (count, height, width, 3))
    return np.clip(128 + 90 * waves[None] + noise, 0, 255).astype(np.uint8)


def cut_tiles(count: int, side: int) -> NDArray[np.uint8]:
    """Tiles of free photos, (count, side, side, 3): the middle of each, enlarged if it is smaller.

    The same for every call. There are six photos; further tiles repeat them.
    """
    from restora_calibration.photos import HELD_OUT, TRAINING, read_free_photo

    free = {photo.name: photo for photo in (*TRAINING, *HELD_OUT)}
    photos = {name: read_free_photo(free[name]) for name in _PHOTOS[:count]}
    return np.stack([_middle(photos[name], side) for name in islice(cycle(photos), count)])


def _middle(photo: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image  # here, since machines that measure a GPU lack it

    height, width = photo.shape[:2]
    if min(height, width) < side:
        size = [-(-length * side // min(height, width)) for length in (width, height)]
        photo = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
        height, width = photo.shape[:2]
    top, left = (height - side) // 2, (width - side) // 2
    return photo[top : top + side, left : left + side]
