"""Small files that claim or unpack to far more than they hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from restora_tools.endurance.hostile.kinds import (
    MEMORY,
    SIDE,
    TOO_MANY_PIXELS,
    UNSUPPORTED,
    broken_file,
)
from restora_tools.endurance.hostile.png import deflated_zeros, make_png
from restora_tools.endurance.hostile.tiff import make_tiff, word
from restora_tools.endurance.pictures import ANY_ERROR, PictureFile


def make_bombs() -> Iterator[PictureFile]:
    for name, size, depth, color in (
        ("bomb-1", (20_000, 20_000), 1, 0),
        ("bomb-rgb", (30_000, 30_000), 8, 2),
        ("bomb-16", (16_000, 16_000), 16, 6),
        ("bomb-wide", (2_000_000_000, 1), 8, 2),
        ("bomb-tall", (1, 2_000_000_000), 8, 0),
        ("bomb-gray-alpha", (60_000, 60_000), 8, 4),
    ):
        yield broken_file(
            f"{name}.png",
            make_png(*size, depth, color, (b"IDAT", deflated_zeros(1 << 20))),
            TOO_MANY_PIXELS,
        )
    yield broken_file(
        "bomb-memory.png",
        make_png(13_000, 13_000, 16, 6, (b"IDAT", deflated_zeros(1 << 20))),
        MEMORY,
    )
    for ending, data in {
        "bmp": struct.pack(
            "<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6
        ),
        "gif": b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\0\0\0\0\xff\xff\xff\xff\0\x08\x02L\x01\0;",
        "ppm": b"P6 99999 99999 255\n\0",
        "tif": make_tiff([(256, 4, 1, word(99_999)), (257, 4, 1, word(99_999))]),
    }.items():
        yield broken_file(f"bomb.{ending}", data, TOO_MANY_PIXELS)
    metadata = (
        (b"iCCP", b"x\0\0" + deflated_zeros(100 << 20)),
        (b"zTXt", b"x\0\0" + deflated_zeros(100 << 20)),
    )
    rows = (b"IDAT", zlib.compress(bytes((1 + SIDE) * SIDE)))
    for name, block in zip(("iccp", "ztxt"), metadata, strict=True):
        yield broken_file(f"bomb-{name}.png", make_png(SIDE, SIDE, 8, 0, block, rows), ANY_ERROR)
    yield broken_file("scans.jpg", make_scan_bomb(2000, scans=250_000), UNSUPPORTED)


def make_scan_bomb(side: int, *, scans: int) -> bytes:
    """A progressive JPEG that is a few bytes for each pass over all of its pixels."""
    blocks = ((side + 7) // 8) ** 2
    frame = struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\0"
    tables = b"".join(
        _segment(0xC4, bytes([kind]) + b"\x01" + bytes(15) + bytes([symbol]))
        for kind, symbol in (
            (0x00, 0),
            (0x10, 0xE0),
        )  # one code each, "0": no change; a run of 2**14
    )
    first = _segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes((blocks + 7) // 8)
    runs = -(-blocks // (1 << 14))
    # "0" and 14 zero bits is a run of 16,384 blocks without a coefficient
    again = _segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + bytes((runs * 15 + 7) // 8)
    table = _segment(0xDB, b"\0" + b"\x01" * 64)
    return (
        b"\xff\xd8" + table + _segment(0xC2, frame) + tables + first + again * scans + b"\xff\xd9"
    )


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
