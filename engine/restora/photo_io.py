"""Photos from and to what a caller has: paths, bytes, file objects, arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np

from restora.errors import (
    FileTooLargeError,
    ImageError,
    OptionError,
    OutputError,
    ShapeError,
)
from restora.image import Photo, PhotoLimits, Pixels, decode_photo, encode_photo
from restora.image import read_photo as read_photo_file
from restora.image import write_photo as write_photo_file
from restora.image.encode import Format

PhotoSource = str | os.PathLike[str] | bytes | BinaryIO
PhotoLike = Photo | Pixels | PhotoSource

_CHUNK_BYTES = 1 << 20


def photo_from(given: PhotoLike, *, limits: PhotoLimits | None = None) -> Photo:
    """The Photo that was given, or one of the given pixels, or what read_photo reads.

    Raises ImageError if a file or bytes cannot be read, ShapeError for anything else.
    """
    if isinstance(given, Photo):
        return given
    if isinstance(given, str | os.PathLike | bytes | bytearray | memoryview):
        return read_photo(given, limits=limits)
    if hasattr(given, "__array_interface__") or hasattr(given, "__array__"):
        return Photo(np.asarray(given))
    if hasattr(given, "read"):
        return read_photo(given, limits=limits)
    raise ShapeError(
        "a photo must be a Photo, an array of pixels, the path of a picture file, its bytes, or a "
        f"file object, got {type(given).__name__}"
    )


def read_photo(source: PhotoSource, *, limits: PhotoLimits | None = None) -> Photo:
    """Read one picture. Its content decides what it is, not its name.

    source: the path of a file, the bytes of one, or a file object opened in binary mode
    limits: PhotoLimits; None for the defaults

    Raises ImageError if it cannot be read: UnknownFormatError, UnsupportedImageError,
    TruncatedImageError, ImageTooLargeError, FileTooLargeError, MemoryLimitError,
    AnimatedImageError, or NotAFileError.
    """
    if isinstance(source, str | os.PathLike):
        return read_photo_file(Path(source), limits=limits)
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_photo(bytes(source), limits=limits)
    if not hasattr(source, "read"):
        raise ShapeError(
            f"a photo is read from a path, bytes or a file object, got {type(source).__name__}"
        )
    return decode_photo(_read_stream(source, limits or PhotoLimits()), limits=limits)


def write_photo(
    photo: Photo,
    target: str | os.PathLike[str] | BinaryIO,
    *,
    format: Format | None = None,  # noqa: A002
    quality: int = 95,
    strip_metadata: bool = False,
) -> None:
    """Write a photo to a file, whole or not at all, or to a file object; encode_photo gives bytes.

    target: a path, or a file object opened in binary mode
    format: "png", "jpg", "webp" or "tiff"; None: by the ending of the path
    quality: 1..100, for jpg and webp
    strip_metadata: leave out the ICC profile, EXIF and XMP

    Raises OptionError if the format cannot hold this photo or is not known, OutputError if the
    target cannot be written.
    """
    if not isinstance(photo, Photo):
        raise ShapeError(
            f"write_photo takes a Photo, such as result.photo, got {type(photo).__name__}"
        )
    if isinstance(target, str | os.PathLike):
        write_photo_file(
            photo, Path(target), format=format, quality=quality, strip_metadata=strip_metadata
        )
        return
    if not hasattr(target, "write"):
        raise OptionError(
            f"a photo is written to a path or a file object, got {type(target).__name__}"
        )
    if format is None:
        raise OptionError(
            "a file object has no ending that names a format: give format="
            f"{', '.join(map(repr, get_args(Format)))}"
        )
    data = encode_photo(photo, format=format, quality=quality, strip_metadata=strip_metadata)
    _write_stream(target, data)


def _read_stream(stream: BinaryIO, limits: PhotoLimits) -> bytes:
    """All bytes up to the end of the stream, no more than the limit allows."""
    data = bytearray()
    while True:
        try:
            part = stream.read(_CHUNK_BYTES)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise ImageError(f"the file object cannot be read: {error}") from error
        if not part:
            return bytes(data)
        if not isinstance(part, bytes | bytearray):
            raise ShapeError("the file object must be opened in binary mode, it gives text")
        data += part
        if len(data) > limits.max_file_bytes:
            raise FileTooLargeError(
                f"the file object holds more than {limits.max_file_bytes} bytes, the limit "
                "(max_file_bytes)"
            )


def _write_stream(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            count = stream.write(rest)
        except TypeError as error:
            raise OptionError("the file object must be opened in binary mode") from error
        except (OSError, ValueError) as error:
            raise OutputError(f"the file object cannot be written: {error}") from error
        rest = rest[len(rest) if count is None else count :]
