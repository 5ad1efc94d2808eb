"""A picture file is decoded, or refused; its header says what is decoded, and no pixel comes from
memory that nobody wrote to."""

import ctypes
from pathlib import Path

import numpy as np

from fuzz.pictures import MAX_PIXELS, make_seeds, mutate
from fuzz.target import Target
from restora.image import Photo, PhotoLimits, probe_file, read_photo

_LIMITS = PhotoLimits(max_pixels=MAX_PIXELS)
_M_PERTURB = -6  # malloc.h: glibc fills what it hands out with the complement of a byte


def check(path: Path) -> str:
    photo = read_photo(path, limits=_LIMITS)
    _check_layout(photo)
    header = probe_file(path, limits=_LIMITS)
    claimed = (header.width, header.height, header.channels, header.bits, header.format)
    said = f"header {claimed}, picture {_facts(photo)}"
    assert claimed[:2] == _facts(photo)[:2], said
    assert claimed[3:] == _facts(photo)[3:], said
    assert claimed[2] >= _facts(photo)[2], said  # memory is planned by it
    _perturb(0x5A)
    again = read_photo(path, limits=_LIMITS)
    _perturb(0)
    assert np.array_equal(photo.pixels, again.pixels), "pixels differ the second time"
    if photo.alpha is not None and again.alpha is not None:
        assert np.array_equal(photo.alpha, again.alpha), "alpha differs the second time"
    return f"read {photo.format}"


def _check_layout(photo: Photo) -> None:
    assert photo.width * photo.height <= MAX_PIXELS, "more pixels than the limit"
    assert photo.pixels.shape[:2] == (photo.height, photo.width), "shape"
    assert photo.pixels.ndim == 2 or photo.pixels.shape[2] == 3, "channels"
    assert photo.pixels.dtype in (np.uint8, np.uint16), "dtype"
    if photo.alpha is not None:
        assert photo.alpha.shape == photo.pixels.shape[:2], "shape of alpha"
        assert photo.alpha.dtype == photo.pixels.dtype, "dtype of alpha"


def _facts(photo: Photo) -> tuple[int, int, int, int, str | None]:
    channels = (1 if photo.pixels.ndim == 2 else 3) + (photo.alpha is not None)
    bits = 8 * photo.pixels.dtype.itemsize
    return photo.width, photo.height, channels, bits, photo.format


def _perturb(byte: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_PERTURB, byte)


TARGET = Target(make_seeds, mutate, check, weight=3.0)
