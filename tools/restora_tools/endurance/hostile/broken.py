"""Several frames, pixels of other kinds, truncated files, and files of other formats."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

from restora_tools.endurance.hostile.kinds import ANIMATED, SIDE, UNSUPPORTED, broken_file
from restora_tools.endurance.hostile.png import PNG_SIGNATURE, make_png
from restora_tools.endurance.hostile.tiff import make_float64, make_tiff
from restora_tools.endurance.pictures import (
    ANY_ERROR,
    CUT,
    UNKNOWN,
    PictureFile,
    encode_picture,
    make_deep,
    make_picture,
    make_several,
)


def make_moving_files() -> Iterator[PictureFile]:
    for format_, ending in {
        "GIF": "gif",
        "WEBP": "webp",
        "PNG": "png",
        "TIFF": "tif",
        "AVIF": "avif",
    }.items():
        yield broken_file(f"moving-2.{ending}", make_several(format_), ANIMATED)
    for name in ("float32", "int32", "float64"):
        data = encode_picture(make_deep(name), "TIFF") if name != "float64" else make_float64()
        yield broken_file(f"{name}.tif", data, UNSUPPORTED)


def make_cut_files() -> Iterator[PictureFile]:
    """Truncated ones of what is decoded in other ways than 8-bit pictures."""
    deep = make_png(SIDE, SIDE, 16, 2, (b"IDAT", zlib.compress(os.urandom((1 + 6 * SIDE) * SIDE))))
    whole = {
        "deep.png": deep,
        "raw.tif": make_tiff([]),
        "cut.avif": encode_picture(make_picture(3, (96, 72)), "AVIF"),
        "progressive.jpg": encode_picture(make_picture(4, (96, 72)), "JPEG", progressive=True),
        "deep.ppm": b"P6 40 30 65535\n" + bytes(40 * 30 * 6),
    }
    for name, data in whole.items():
        for share in (0.3, 0.6, 0.9):
            end = int(len(data) * share)
            error = ANY_ERROR if name == "raw.tif" else CUT
            yield broken_file(f"cut-{int(100 * share)}-{name}", data[:end], error)


def make_odd_files() -> Iterator[PictureFile]:
    yield broken_file("only-a-start.png", PNG_SIGNATURE, CUT)
    yield broken_file("only-a-start.tif", b"II*\0", CUT)
    yield broken_file("page.svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", UNKNOWN)
    yield broken_file("phone.jpg", b"\0\0\0\x18ftypheic" + bytes(200), UNKNOWN)
    yield broken_file("zeros.jpg", bytes(100_000), UNKNOWN)
    yield broken_file("text.tif", b"II, she said, is two in Roman numbers" * 20, UNKNOWN)
