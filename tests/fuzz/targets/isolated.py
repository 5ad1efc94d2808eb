"""Decoding in a child process ends as it does in this one."""

from collections.abc import Callable
from pathlib import Path

from fuzz.pictures import MAX_PIXELS, make_seeds, mutate
from fuzz.target import Target
from restora.errors import RestoraError
from restora.image import Photo, PhotoLimits, read_photo
from restora.image.isolated import read_isolated

_LIMITS = PhotoLimits(max_pixels=MAX_PIXELS, max_decode_s=5.0)


def check(path: Path) -> str:
    here, there = _read(read_photo, path), _read(read_isolated, path)
    assert type(here) is type(there), f"here {here!r}, in a child {there!r}"
    if isinstance(here, RestoraError):
        raise here
    assert isinstance(there, Photo), "a picture"
    assert (here.pixels == there.pixels).all(), "other pixels in a child"
    assert (here.alpha is None) == (there.alpha is None), "alpha in one only"
    assert here.metadata == there.metadata, "other metadata in a child"
    return f"read {here.format}"


def _read(read: Callable[..., Photo], path: Path) -> Photo | RestoraError:
    try:
        return read(path, limits=_LIMITS)
    except RestoraError as error:
        return error


TARGET = Target(make_seeds, mutate, check, memory_mb=512)
