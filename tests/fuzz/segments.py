"""Mutations of files made of marked parts: JPEG segments, RIFF chunks (WebP, AVI), boxes of ISO
media (MP4, AVIF), elements of text headers (PNM)."""

from __future__ import annotations

import re
from random import Random

from fuzz.mutate import draw_integer, mutate_bytes

_MARKERS = (*range(0xC0, 0xFF), 0x01, 0x00)
_CONTAINERS = {
    b"moov",
    b"trak",
    b"mdia",
    b"minf",
    b"stbl",
    b"edts",
    b"iprp",
    b"ipco",
    b"udta",
    b"mvex",
}


def mutate_jpeg(data: bytes, rng: Random) -> bytes:
    """Raises ValueError if there are no segments."""
    segments, scan = _split_jpeg(data)
    if not segments:
        raise ValueError("no JPEG segments")
    place = rng.randrange(len(segments))
    marker, body = segments[place]
    length: int | None = None
    what = rng.randrange(11)
    if what == 0:
        length = draw_integer(rng, 2)
    elif what == 1:
        del segments[place]
    elif what == 2:
        segments[place:place] = [segments[place]] * rng.choice((1, 1, 5, 200))
    elif what == 3:
        other = rng.randrange(len(segments))
        segments[place], segments[other] = segments[other], segments[place]
    elif what == 4:
        segments[place] = (rng.choice(_MARKERS), body)
    elif what == 5:
        segments[place] = (marker, mutate_bytes(body, rng))
    elif what in (6, 7):
        _mutate_frame(segments, rng)
    elif what == 8:  # scan after scan
        head = next((part for part in segments if part[0] == 0xDA), (0xDA, b"\x01\x01\0\0\x3f\0"))
        again = _join_jpeg([head], scan[:64], None, 0)[2:]
        scan += again * rng.choice((1, 20, 1000))
    elif what == 9:
        scan = mutate_bytes(scan, rng)
    else:  # EXIF and ICC blocks that are cut, numbered wrongly or far too many
        block = rng.choice(
            (b"Exif\0\0" + body[:40], b"ICC_PROFILE\0\x01\x02" + body, b"MPF\0" + body)
        )
        segments.insert(0, (rng.choice((0xE1, 0xE2, 0xEE)), block[:65000]))
    return _join_jpeg(segments, scan, length, place)


def mutate_chunks(data: bytes, rng: Random) -> bytes:
    """RIFF: sizes, names and order. Raises ValueError if there are no chunks."""
    chunks, position = [], 12
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        end = position + 8 + size + size % 2
        chunks.append(data[position:end])
        position = end
    if not chunks:
        raise ValueError("no RIFF chunks")
    place = rng.randrange(len(chunks))
    part = chunks[place]
    what = rng.randrange(6)
    if what == 0:
        chunks[place] = part[:4] + draw_integer(rng, 4).to_bytes(4, "little") + part[8:]
    elif what == 1:
        del chunks[place]
    elif what == 2:
        chunks.insert(place, part)
    elif what == 3:
        name = rng.choice(
            (b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"ICCP", b"EXIF", b"XMP ")
        )
        chunks[place] = name + part[4:]
    elif what == 4:
        other = rng.randrange(len(chunks))
        chunks[place], chunks[other] = chunks[other], chunks[place]
    else:
        body = mutate_bytes(part[8:], rng)
        chunks[place] = part[:4] + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)
    body = b"".join(chunks)
    return data[:4] + (len(body) + 4).to_bytes(4, "little") + data[8:12] + body


def mutate_boxes(data: bytes, rng: Random) -> bytes:
    """ISO media. Raises ValueError if there are no boxes."""
    boxes = list(_find_boxes(data, 0, len(data), 0))
    if not boxes:
        raise ValueError("no boxes")
    start, end = rng.choice(boxes)
    what = rng.randrange(6)
    if what == 0:
        return data[:start] + draw_integer(rng, 4).to_bytes(4, "big") + data[start + 4 :]
    if what == 1:
        return data[:start] + data[end:]
    if what == 2:
        return data[:end] + data[start:end] * rng.choice((1, 5)) + data[end:]
    if what == 3:
        other, _ = rng.choice(boxes)
        return data[: start + 4] + data[other + 4 : other + 8] + data[start + 8 :]
    body = bytearray(data[start + 8 : end])
    if what == 4 and len(body) >= 4:  # counts and tables are 32-bit fields
        place = rng.randrange(len(body) // 4) * 4
        body[place : place + 4] = draw_integer(rng, 4).to_bytes(4, "big")
        return data[: start + 8] + bytes(body) + data[end:]
    changed = mutate_bytes(bytes(body), rng)
    size = (len(changed) + 8).to_bytes(4, "big")
    return data[:start] + size + data[start + 4 : start + 8] + changed + data[end:]


def mutate_words(data: bytes, rng: Random) -> bytes:
    """PNM: the numbers and comments of its head. Raises ValueError if there are none."""
    words = list(re.finditer(rb"\d+", data[:64]))
    if not words:
        raise ValueError("no words")
    word = rng.choice(words)
    new = rng.choice(
        (
            *(b"0", b"1", b"255", b"256", b"1023", b"65535", b"65536", b"4294967296", b"-1", b""),
            *(
                b"9" * 30,
                b"9" * 5000,
                b"1e3",
                b"nan",
                b"0x10",
                b"#\n7",
                b"# " + b"c" * 3000 + b"\n7",
            ),
        )
    )
    return data[: word.start()] + new + data[word.end() :]


def _split_jpeg(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The segments up to the first scan, and the scan with all that follows."""
    segments, position = [], 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segments.append((marker, data[position + 4 : position + 2 + length]))
        position += 2 + max(2, length)
        if marker == 0xDA:
            break
    return segments, data[position:]


def _join_jpeg(
    segments: list[tuple[int, bytes]], scan: bytes, length: int | None, place: int
) -> bytes:
    parts = [b"\xff\xd8"]
    for index, (marker, body) in enumerate(segments):
        size = length if length is not None and index == place else len(body) + 2
        parts.append(bytes((0xFF, marker)) + (size & 0xFFFF).to_bytes(2, "big") + body)
    return b"".join(parts) + scan


def _mutate_frame(segments: list[tuple[int, bytes]], rng: Random) -> None:
    """SOF: precision, sides, components, their sampling."""
    for index, (marker, body) in enumerate(segments):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 6:
            changed = bytearray(body)
            what = rng.randrange(4)
            if what == 0:
                changed[rng.choice((1, 3)) :][:2] = b""
                place = rng.choice((1, 3))
                changed[place : place + 2] = draw_integer(rng, 2).to_bytes(2, "big")
            elif what == 1:
                changed[0] = rng.choice((0, 2, 8, 12, 16, 255))
            elif what == 2:
                changed[5] = rng.choice((0, 1, 2, 3, 4, 5, 255))
            else:
                changed[rng.randrange(5, len(changed))] = rng.randrange(256)
            segments[index] = (
                rng.choice((marker, marker, 0xC0, 0xC1, 0xC2, 0xC3, 0xC9)),
                bytes(changed),
            )
            return


def _find_boxes(data: bytes, start: int, end: int, depth: int) -> list[tuple[int, int]]:
    found = []
    while start + 8 <= end and len(found) < 500:
        size = int.from_bytes(data[start : start + 4], "big")
        if size < 8 or start + size > end:
            size = end - start
        found.append((start, start + size))
        kind = data[start + 4 : start + 8]
        if depth < 6 and (kind in _CONTAINERS or kind == b"meta"):
            inner = start + (12 if kind == b"meta" else 8)
            found += _find_boxes(data, inner, start + size, depth + 1)
        start += size
    return found
