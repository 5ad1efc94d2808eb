"""Facts about reading photos from, and writing them to, whatever a caller has."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restora import PhotoLimits, encode_photo, read_photo, write_photo
from restora.errors import (
    FileTooLargeError,
    ImageError,
    OptionError,
    OutputError,
    ShapeError,
    UnknownFormatError,
)
from restora.image import Photo
from restora.photo_io import photo_from

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
PNG = encode_photo(Photo(PIXELS), format="png")


class Drops(io.RawIOBase):
    """A raw stream that gives and takes three bytes at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = bytes(self.data[:3])
        del self.data[:3]
        buffer[: len(part)] = part
        return len(part)

    def write(self, data: Any) -> int:
        self.data += bytes(data[:3])
        return min(3, len(data))


def test_a_photo_is_read_from_a_path_bytes_a_file_object_or_an_array(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(PNG)
    with path.open("rb") as stream:
        sources: list[Any] = [path, str(path), PNG, bytearray(PNG), io.BytesIO(PNG), stream]
        for source in [*sources, Drops(PNG), PIXELS, Photo(PIXELS)]:
            if hasattr(source, "seek") and source.seekable():
                source.seek(0)
            assert np.array_equal(photo_from(source).pixels, PIXELS)
        for source in sources:
            if hasattr(source, "seek"):
                source.seek(0)
            assert np.array_equal(read_photo(source).pixels, PIXELS)


@pytest.mark.parametrize("source", [None, 3, ["a.png"], {"a": 1}])
def test_what_is_no_photo_is_refused_by_its_type(source: Any) -> None:
    for read in (read_photo, photo_from):
        with pytest.raises(ShapeError, match=type(source).__name__):
            read(source)


def test_no_more_of_a_file_object_is_read_than_the_limit_allows() -> None:
    stream = io.BytesIO(bytes(5 << 20))
    with pytest.raises(FileTooLargeError, match="more than 1000 bytes"):
        read_photo(stream, limits=PhotoLimits(max_file_bytes=1000))
    assert stream.tell() < 2 << 20


def test_a_file_object_that_cannot_be_read_is_an_image_error() -> None:
    closed = io.BytesIO(PNG)
    closed.close()
    with pytest.raises(ImageError, match="cannot be read"):
        read_photo(closed)
    with pytest.raises(ShapeError, match="binary mode"):
        read_photo(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(UnknownFormatError):
        read_photo(io.BytesIO(b"no picture at all"))


@pytest.mark.parametrize("stream", [io.BytesIO(), Drops()])
def test_a_photo_is_written_whole_to_a_file_object(stream: Any) -> None:
    write_photo(Photo(PIXELS), stream, format="png")
    data = bytes(stream.getvalue() if isinstance(stream, io.BytesIO) else stream.data)
    assert np.array_equal(read_photo(data).pixels, PIXELS)


def test_a_photo_is_written_to_a_path_by_its_ending(tmp_path: Path) -> None:
    for name in ("a.png", "a.tiff"):
        write_photo(Photo(PIXELS), str(tmp_path / name))
        assert np.array_equal(read_photo(tmp_path / name).pixels, PIXELS)


def test_a_file_object_needs_a_format_and_binary_mode() -> None:
    with pytest.raises(OptionError, match="'png', 'jpg', 'webp', 'tiff'"):
        write_photo(Photo(PIXELS), io.BytesIO())
    with pytest.raises(OptionError, match="binary mode"):
        write_photo(Photo(PIXELS), io.StringIO(), format="png")  # type: ignore[arg-type]
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(OutputError, match="cannot be written"):
        write_photo(Photo(PIXELS), closed, format="png")
    with pytest.raises(OptionError, match="int"):
        write_photo(Photo(PIXELS), 3, format="png")  # type: ignore[arg-type]


def test_what_is_no_photo_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"such as result\.photo, got ndarray"):
        write_photo(PIXELS, tmp_path / "a.png")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
