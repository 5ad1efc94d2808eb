"""The clean photos of a run: which of them are trained on, and reading them."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from restora.errors import OptionError, RestoraError
from restora_calibration.folders import digest_of, list_photos, read_pixels
from restora_calibration.photos import HELD_OUT, TRAINING, FreePhoto, read_free_photo

logger = logging.getLogger(__name__)

Photo = NDArray[np.uint8]

_CACHE_BYTES = 2 << 30
_STEPS_PER_PHOTO = 4  # until the window moves by one


class PhotoSet:
    """Photos by index, read when they are needed; the last ones stay in memory.

    largest_bytes: of a photo in memory; where not all photos have room together, training goes
        through them with a window that has, so that decoding is not what it waits for

    Safe to use from several threads.
    """

    def __init__(
        self,
        names: Sequence[str],
        read: Callable[[int], Photo],
        *,
        largest_bytes: int = 0,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self.names = list(names)
        self._read = read
        self._cache: OrderedDict[int, Photo] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._window = max(1, cache_bytes // max(1, largest_bytes))
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def draw(self, step: int, rng: np.random.Generator) -> int:
        """Draw the index of a photo for a step of the training."""
        if self._window >= len(self):
            return int(rng.integers(len(self)))
        return (step // _STEPS_PER_PHOTO + int(rng.integers(self._window))) % len(self)

    def without_window(self) -> PhotoSet:
        """The same photos, where any step can draw each of them, though it may have to be read."""
        return PhotoSet(self.names, self._read, cache_bytes=self._cache_bytes)

    def __getitem__(self, index: int) -> Photo:
        """uint8 RGB, (height, width, 3)."""
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        photo = self._read(index)
        with self._lock:
            self._cache[index] = photo
            while len(self._cache) > 1 and self._held_bytes() > self._cache_bytes:
                self._cache.popitem(last=False)
        return photo

    def _held_bytes(self) -> int:
        return sum(photo.nbytes for photo in self._cache.values())


def open_photos(
    folder: Path | None,
    *,
    held_out: int,
    smallest: int,
    max_broken: float,
    square: bool = False,
    seed: int = 0,
) -> tuple[PhotoSet, PhotoSet]:
    """The photos to train on, and those to measure progress with.

    folder: None uses free photos of installed packages, whose held-out photos are always the same
    held_out: how many photos to keep back; the choice depends only on the names and the seed
    smallest: photos with a shorter side are left out
    max_broken: largest share of files that cannot be used
    square: others are left out, as no aligned faces

    Every file is read once here. Files that cannot be used are left out, and logged.
    Raises OptionError if too few photos are left.
    """
    if folder is None:
        return _open_free_photos(held_out, smallest)
    files = list_photos(folder)
    sizes = {path: _size_of(path, smallest, square) for path in files}
    usable = [path for path in files if sizes[path]]
    broken = len(files) - len(usable)
    if broken > max_broken * len(files):
        raise OptionError(
            f"{broken} of {len(files)} photos in {folder} cannot be used, at most "
            f"{max_broken:.0%} may: mend or remove them, or raise data.max_broken"
        )
    if len(usable) <= held_out:
        raise OptionError(
            f"{folder} has {len(usable)} photos of at least {smallest} pixels a side; training "
            f"needs more than the {held_out} that are held out"
        )
    ranked = sorted(usable, key=lambda path: digest_of(seed, path.name))
    largest = max(sizes.values())
    # ranked, so that the photos of a window are not all of one day
    return _files(ranked[held_out:], largest), _files(sorted(ranked[:held_out]), largest)


def _open_free_photos(held_out: int, smallest: int) -> tuple[PhotoSet, PhotoSet]:
    training = _in_memory(TRAINING, smallest)
    others = _in_memory(HELD_OUT if held_out else (), smallest, most=held_out)
    if not len(training) or (held_out and not len(others)):
        raise OptionError(
            f"too few free photos have sides of {smallest} pixels: use smaller patches, or a "
            "folder of your own photos"
        )
    return training, others


def _in_memory(photos: Sequence[FreePhoto], smallest: int, *, most: int | None = None) -> PhotoSet:
    read = {photo.name: read_free_photo(photo) for photo in photos}
    fitting = [name for name, pixels in read.items() if min(pixels.shape[:2]) >= smallest][:most]
    return PhotoSet(fitting, lambda index: read[fitting[index]])


def _files(paths: Sequence[Path], largest_bytes: int) -> PhotoSet:
    return PhotoSet(
        [path.name for path in paths],
        lambda index: read_pixels(paths[index]),
        largest_bytes=largest_bytes,
    )


def _size_of(path: Path, smallest: int, square: bool) -> int:
    """Bytes of the pixels; 0 for a photo that cannot be used, which is logged."""
    try:
        pixels = read_pixels(path)
    except RestoraError as error:
        logger.warning("%s is left out: %s", path, error)
        return 0
    height, width = pixels.shape[:2]
    if min(height, width) < smallest:
        logger.warning(
            "%s is left out: its %d x %d pixels are less than %d", path, width, height, smallest
        )
        return 0
    if square and height != width:
        logger.warning(
            "%s is left out: an aligned face is square, it has %d x %d pixels", path, width, height
        )
        return 0
    return pixels.nbytes
