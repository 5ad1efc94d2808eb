"""What a photo can be given as."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from restora.errors import ShapeError
from restora.image import Photo, Pixels, decode_photo, read_photo

PhotoLike = Photo | Pixels | str | os.PathLike[str] | bytes


def photo_from(given: PhotoLike) -> Photo:
    """A Photo of what was given: itself, its pixels, the path of its file or the file's bytes.

    Raises ImageError if the file or the bytes cannot be read, ShapeError for anything else.
    """
    if isinstance(given, Photo):
        return given
    if isinstance(given, str | os.PathLike):
        return read_photo(Path(given))
    if isinstance(given, bytes | bytearray | memoryview):
        return decode_photo(bytes(given))
    if hasattr(given, "__array_interface__") or hasattr(given, "__array__"):
        return Photo(np.asarray(given))
    raise ShapeError(
        "a photo must be a Photo, an array of pixels, the path of a picture file or its bytes, "
        f"got {type(given).__name__}"
    )
