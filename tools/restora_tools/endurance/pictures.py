"""Picture files as users have them: of every kind that must be restored, and broken in every way
that must be told."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ANY_ERROR = "any"  # type of error that a picture may have
_SIZE = (96, 72)
_ORIENTATION = 274


@dataclass(frozen=True, slots=True)
class PictureFile:
    """One file to be made.

    size   of the upright picture
    error  the type's name if it must fail, or ANY_ERROR
    exact  its name is part of the test and stays as it is
    place  makes it at a path; None: it is a plain file of `data`
    """

    name: str
    data: bytes
    size: tuple[int, int] = _SIZE
    error: str | None = None
    exact: bool = False
    place: Callable[[Path], None] | None = None


def make_good(count: int) -> Iterator[PictureFile]:
    """Pictures that must be restored: formats, modes, orientations, odd sizes; no two alike."""
    makers = [
        _plain("JPEG", "jpg"),
        _plain("PNG", "png"),
        _plain("WEBP", "webp"),
        _plain("TIFF", "tif"),
        _plain("BMP", "bmp"),
        _plain("PPM", "ppm"),
        _plain("JPEG", "jpg", mode="L"),
        _plain("JPEG", "jpg", mode="CMYK"),
        _plain("PNG", "png", mode="LA"),
        _plain("PNG", "png", mode="RGBA"),
        _plain("PNG", "png", mode="P"),
        _plain("PNG", "png", mode="1"),
        _plain("GIF", "gif", mode="P"),
        _plain("PNG", "jpg"),  # another name than content
        _plain("PNG", "png", size=(1, 1)),
        _plain("PNG", "png", size=(400, 1)),
        _plain("PNG", "png", size=(1, 400)),
        _turned(6),
        _turned(3),
    ]
    for index, make in enumerate(islice(cycle(makers), count)):
        yield make(index)


def make_broken() -> list[PictureFile]:
    """40 files that must fail, each with its error."""
    files: list[PictureFile] = []
    for format_, ending in _ENDINGS.items():
        data = encode_picture(make_picture(7, _SIZE), format_)
        for share in (0.35, 0.6, 0.9):
            if format_ == "GIF" and share > 0.5:
                continue  # its last bytes may be missing without a pixel missing
            cut = data[: int(len(data) * share)]
            name = f"cut-{int(100 * share)}.{ending}"
            files.append(_broken(name, cut, "TruncatedImageError"))
    files.append(
        _broken("header-only.jpg", encode_picture(make_picture(1, _SIZE), "JPEG")[:24], CUT)
    )
    files.append(_broken("flipped.png", _flip(encode_picture(make_picture(2, _SIZE), "PNG")), CUT))
    files += [
        _broken("empty.jpg", b"", UNKNOWN),
        _broken("empty.png", b"", UNKNOWN),
        _broken("text.jpg", b"this is no picture\n" * 40, UNKNOWN),
        _broken("page.png", b"<!doctype html><title>404</title>", UNKNOWN),
        _broken("noise.webp", np.random.default_rng(5).bytes(4000), UNKNOWN),
        _broken("film.jpg", b"\x00\x00\x00\x20ftypisom" + bytes(400), UNKNOWN),
        _broken("archive.tif", b"PK\x03\x04" + bytes(400), UNKNOWN),
        _broken("bomb.png", _bomb(20_000, 20_000), "ImageTooLargeError"),
        _broken("bomb-wide.png", _bomb(2_000_000, 200), "ImageTooLargeError"),
        _broken("moving.gif", make_several("GIF"), "AnimatedImageError"),
        _broken("moving.webp", make_several("WEBP"), "AnimatedImageError"),
        _broken("moving.png", make_several("PNG"), "AnimatedImageError"),
        _broken("pages.tif", make_several("TIFF"), "AnimatedImageError"),
        _broken("float.tif", encode_picture(make_deep("float32"), "TIFF"), "UnsupportedImageError"),
        _broken(
            "integers.tif", encode_picture(make_deep("int32"), "TIFF"), "UnsupportedImageError"
        ),
    ]
    links = 40 - len(files)
    for index in range(links):
        name = f"broken-nowhere-{index}.jpg"
        files.append(PictureFile(name, b"", error=DANGLING, place=_link_nowhere))
    return files


def write_all(files: Iterator[PictureFile], folder: Path) -> dict[str, PictureFile]:
    """By the name under which each lies in `folder`; good and broken ones are mixed."""
    folder.mkdir(parents=True)
    by_name = {}
    for index, file in enumerate(files):
        # their order by name has nothing to do with what they are
        name = f"{zlib.crc32(str(index).encode()) % 10_000:04}-{index:04}-{file.name}"
        if file.exact:
            name = file.name
        assert name not in by_name, name
        if file.place is not None:
            file.place(folder / name)
        else:
            (folder / name).write_bytes(file.data)
        by_name[name] = file
    return by_name


CUT, UNKNOWN, DANGLING = "TruncatedImageError", "UnknownFormatError", "ImageError"
_ENDINGS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "TIFF": "tif",
    "BMP": "bmp",
    "PPM": "ppm",
    "GIF": "gif",
}


def _link_nowhere(path: Path) -> None:
    path.symlink_to(path.with_name("absent"))


def _broken(name: str, data: bytes, error: str) -> PictureFile:
    return PictureFile(f"broken-{name}", data, error=error)


def make_picture(seed: int, size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    width, height = size
    across, down = np.meshgrid(np.linspace(0, 200, width), np.linspace(0, 200, height))
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    pixels = np.stack((across, down, 200 - across), axis=2) + seed % 50 + noise
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray((across + 40).astype(np.uint8)))
    return picture.convert(mode)


def make_deep(dtype: str) -> Image.Image:
    return Image.fromarray(np.arange(64 * 48, dtype=dtype).reshape(48, 64))


def encode_picture(picture: Image.Image, format_: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format_, **options)
    return stream.getvalue()


def _plain(
    format_: str, ending: str, *, mode: str = "RGB", size: tuple[int, int] = _SIZE
) -> Callable[[int], PictureFile]:
    def make(index: int) -> PictureFile:
        data = encode_picture(make_picture(index, size, mode), format_)
        return PictureFile(f"{mode.lower()}.{ending}", data, size)

    return make


def _turned(orientation: int) -> Callable[[int], PictureFile]:
    def make(index: int) -> PictureFile:
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        data = encode_picture(make_picture(index, _SIZE), "JPEG", exif=exif)
        size = _SIZE[::-1] if orientation >= 5 else _SIZE
        return PictureFile(f"turned-{orientation}.jpg", data, size)

    return make


def make_several(format_: str) -> bytes:
    first, *others = (make_picture(seed, _SIZE) for seed in range(3))
    return encode_picture(first, format_, save_all=True, append_images=others)


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


def _bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is huge, with all of its rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sealed = kind + data
        return struct.pack(">I", len(data)) + sealed + struct.pack(">I", zlib.crc32(sealed))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    deflater = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join([*(deflater.compress(row) for _ in range(height)), deflater.flush()])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
