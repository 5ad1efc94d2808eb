"""A picture file is decoded, or refused."""

from pathlib import Path

from fuzz.pictures import MAX_PIXELS, make_seeds, mutate
from fuzz.target import Target
from restora.image import PixelLimits, read_photo

_LIMITS = PixelLimits(max_pixels=MAX_PIXELS)


def check(path: Path) -> str:
    photo = read_photo(path, limits=_LIMITS)
    assert photo.width * photo.height <= MAX_PIXELS, "more pixels than the limit"
    assert photo.pixels.shape[:2] == (photo.height, photo.width), "shape"
    assert photo.alpha is None or photo.alpha.shape == photo.pixels.shape[:2], "shape of alpha"
    return f"read {photo.format}"


TARGET = Target(make_seeds, mutate, check, weight=3.0)
