"""PNG files, written chunk by chunk, whose headers lie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from restora_tools.endurance.hostile.kinds import SIDE, broken_file
from restora_tools.endurance.pictures import CUT, PictureFile

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def make_lying_pngs() -> Iterator[PictureFile]:
    for depth in (8, 16):
        for color in (0, 2, 6):
            head = PNG_SIGNATURE + make_chunk(
                b"IHDR", struct.pack(">IIBBBBB", 3, 2, depth, color, 0, 0, 0)
            )
            data = head + struct.pack(">I", 0xFFFFFFE0) + b"IDAT" + bytes(40)
            yield broken_file(f"idat-{color}-{depth}.png", data, CUT)
    for depth in (1, 2, 4, 8):
        rows = zlib.compress(bytes((1 + (SIDE * depth + 7) // 8) * SIDE))
        yield broken_file(
            f"no-plte-{depth}.png", make_png(SIDE, SIDE, depth, 3, (b"IDAT", rows)), CUT
        )
    rows = zlib.compress(bytes(100))
    yield broken_file("short-rows.png", make_png(SIDE, SIDE, 8, 2, (b"IDAT", rows)), CUT)
    yield broken_file("no-size.png", make_png(0, SIDE, 8, 2, (b"IDAT", rows)), CUT)
    yield broken_file("no-idat.png", make_png(SIDE, SIDE, 8, 2), CUT)


def make_png(
    width: int, height: int, depth: int, color: int, *chunks: tuple[bytes, bytes]
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(make_chunk(*part) for part in parts)


def make_chunk(kind: bytes, data: bytes) -> bytes:
    sealed = kind + data
    return struct.pack(">I", len(data)) + sealed + struct.pack(">I", zlib.crc32(sealed))


def deflated_zeros(count: int) -> bytes:
    deflater = zlib.compressobj(9)
    parts = [deflater.compress(bytes(1 << 20)) for _ in range(count >> 20)]
    return b"".join((*parts, deflater.flush()))
