"""PNG files: written by hand in every layout, and mutated chunk by chunk with right checksums."""

from __future__ import annotations

import struct
import zlib
from random import Random

import numpy as np
from numpy.typing import NDArray

from fuzz.mutate import draw_integer, mutate_bytes

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_KINDS = (
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"eXIf"),
    *(b"iTXt", b"tEXt", b"zTXt", b"pHYs", b"bKGD", b"sBIT", b"hIST", b"tIME", b"acTL", b"fcTL"),
    *(b"fdAT", b"cICP", b"sPLT", b"XXXX", b"xxxx", b"\0\0\0\0"),
)
Chunk = tuple[bytes, bytes]


def chunk(kind: bytes, data: bytes) -> bytes:
    sealed = kind + data
    return struct.pack(">I", len(data)) + sealed + struct.pack(">I", zlib.crc32(sealed))


def make_png(
    color: int,
    depth: int,
    *,
    size: tuple[int, int] = (13, 9),
    interlaced: bool = False,
    before: tuple[Chunk, ...] = (),
    after: tuple[Chunk, ...] = (),
) -> bytes:
    """A picture of a gradient. color: PNG's color type; before, after: chunks around IDAT."""
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    samples = _samples(width, height, _CHANNELS[color], depth)
    if color == 3:
        samples %= 4
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(_rows(samples[y::down, x::across], depth) for x, y, across, down in passes)
    parts = [(b"IHDR", header)]
    if color == 3:
        parts.append((b"PLTE", bytes(range(12))))
    parts += [*before, (b"IDAT", zlib.compress(rows)), *after, (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(*part) for part in parts)


def mutate_png(data: bytes, rng: Random) -> bytes:
    """Raises ValueError if there are no chunks to mutate."""
    chunks = _split(data)
    if not chunks:
        raise ValueError("no PNG chunks")
    place = rng.randrange(len(chunks))
    kind, body = chunks[place]
    what = rng.randrange(11)
    if what == 0:
        return _lie_about_length(chunks, place, rng)
    if what == 1:
        del chunks[place]
    elif what == 2:
        chunks[place:place] = [chunks[place]] * rng.choice((1, 1, 3, 300))
    elif what == 3:
        other = rng.randrange(len(chunks))
        chunks[place], chunks[other] = chunks[other], chunks[place]
    elif what == 4:
        chunks[place] = (rng.choice(_KINDS), body)
    elif what == 5:
        chunks.insert(place, (rng.choice(_KINDS), rng.randbytes(rng.choice((0, 1, 4, 8, 26, 300)))))
    elif what in (6, 7):
        chunks[0] = (b"IHDR", _mutate_header(chunks[0][1], rng))
    elif what == 8 and b"IDAT" in [name for name, _ in chunks]:
        place = [name for name, _ in chunks].index(b"IDAT")
        chunks[place] = (b"IDAT", _mutate_packed(chunks[place][1], rng))
    elif what == 9:
        packed = zlib.compress(bytes(rng.choice((10, 100_000, 8_000_000))), 9)
        bomb = rng.choice(
            ((b"iCCP", b"x\0\0"), (b"zTXt", b"x\0\0"), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"))
        )
        chunks.insert(1, (bomb[0], bomb[1] + packed))
    else:
        chunks[place] = (kind, mutate_bytes(body, rng))
    return SIGNATURE + b"".join(chunk(*part) for part in chunks)


def _split(data: bytes) -> list[Chunk]:
    chunks, position = [], len(SIGNATURE)
    while position + 8 <= len(data) and len(chunks) < 5000:
        length = int.from_bytes(data[position : position + 4], "big")
        chunks.append(
            (data[position + 4 : position + 8], data[position + 8 : position + 8 + length])
        )
        position += 12 + length
    return chunks


def _lie_about_length(chunks: list[Chunk], place: int, rng: Random) -> bytes:
    parts = [chunk(*part) for part in chunks]
    length = draw_integer(rng, 4).to_bytes(4, "big")
    parts[place] = length + parts[place][4:]
    return SIGNATURE + b"".join(parts)


def _mutate_header(header: bytes, rng: Random) -> bytes:
    fields = bytearray(header.ljust(13, b"\0"))
    what = rng.randrange(4)
    if what < 2:
        fields[4 * what : 4 * what + 4] = draw_integer(rng, 4).to_bytes(4, "big")
    elif what == 2:
        fields[8], fields[9] = rng.choice((1, 2, 4, 8, 16)), rng.choice((0, 2, 3, 4, 6))
    else:
        fields[rng.randrange(8, 13)] = (
            rng.randrange(256) if rng.random() < 0.3 else rng.randrange(17)
        )
    return bytes(fields)


def _mutate_packed(body: bytes, rng: Random) -> bytes:
    """The rows under the compression, so that filters and sizes are wrong and checksums right."""
    try:
        rows = zlib.decompressobj().decompress(body, 1 << 20)
    except zlib.error:
        return mutate_bytes(body, rng)
    return zlib.compress(mutate_bytes(rows, rng))


def _samples(width: int, height: int, channels: int, depth: int) -> NDArray[np.uint16]:
    y, x, channel = np.mgrid[0:height, 0:width, 0:channels]
    return ((x * 5003 + y * 3001 + channel * 1009) % (1 << depth)).astype(np.uint16)


def _rows(samples: NDArray[np.uint16], depth: int) -> bytes:
    """Each row packed, behind filter type 0."""
    if not samples.size:
        return b""
    lines = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = lines.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = lines.astype(np.uint8)
    else:
        bits = (lines[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(len(lines), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)
