"""TIFF files, written entry by entry, whose directories lie."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from restora_tools.endurance.hostile.kinds import ANIMATED, SIDE, broken_file, good_file
from restora_tools.endurance.pictures import ANY_ERROR, PictureFile

Entry = tuple[int, int, int, bytes]  # tag, type, count, value or offset as stored


def make_lying_tiffs() -> Iterator[PictureFile]:
    long = (3_000_000_000).to_bytes(4, "little")
    for tag in (34675, 700):
        # the block cannot be had, the pixels can
        yield good_file(f"tag-{tag}.tif", make_tiff([(tag, 4, 1, long)]))
    for name, entry in {
        "ascii": (274, 2, 2, b"6\0\0\0"),
        "byte": (274, 1, 1, b"\x06\0\0\0"),
        "undefined": (274, 7, 1, b"\x06\0\0\0"),
        "nan": (274, 11, 1, struct.pack("<f", float("nan"))),
    }.items():
        yield good_file(f"turned-{name}.tif", make_tiff([entry]))
    for name, entry in {
        "negative": (34675, 9, 1, b"\xff\xff\xff\xff"),
        "float": (34675, 11, 1, struct.pack("<f", 1e9)),
        "ascii": (34675, 2, 4, b"icc\0"),
    }.items():
        yield good_file(f"icc-{name}.tif", make_tiff([entry]))
    for size in (1 << 62, (1 << 64) - 1):
        entry = (34675, 7, size, (16).to_bytes(8, "little"))
        yield good_file(f"icc-{size:x}.tif", make_tiff([entry], big=True))
    lie = [(322, 4, 1, word(46336)), (323, 4, 1, word(46336)), (324, 4, 1, word(8))]
    lie += [(325, 4, 1, word(64))]
    yield broken_file(
        "tile-lie.tif", make_tiff([*lie, (259, 3, 1, word(5))], tiled=True), ANY_ERROR
    )
    yield broken_file("tile-lie-raw.tif", make_tiff(lie, tiled=True), ANY_ERROR)
    yield broken_file("strip-lie.tif", make_tiff([(279, 4, 1, word(0xFFFFFFFF))]), ANY_ERROR)
    yield broken_file("strip-offset.tif", make_tiff([(273, 4, 1, word(0xFFFFFFF0))]), ANY_ERROR)
    yield broken_file("many-strips.tif", make_tiff([(273, 4, 1 << 28, word(8))]), ANY_ERROR)
    yield broken_file("samples.tif", make_tiff([(277, 3, 1, word(65535))]), ANY_ERROR)
    yield broken_file("bits.tif", make_tiff([(258, 3, 1, word(64))]), ANY_ERROR)
    yield broken_file("no-compression.tif", make_tiff([(259, 3, 1, word(60000))]), ANY_ERROR)
    yield broken_file("next-is-itself.tif", make_tiff([], following=-1), ANY_ERROR)
    yield broken_file("60000-pages.tif", _pages(60_000), ANIMATED)


def make_tiff(
    entries: Sequence[Entry], *, big: bool = False, tiled: bool = False, following: int = 0
) -> bytes:
    """A sound gray picture of SIDE x SIDE, and then these entries, which replace its own.

    following  where the next directory lies; -1: where this one does
    """
    pixels = bytes(range(SIDE)) * SIDE
    head = 16 if big else 8
    found: dict[int, Entry] = {
        tag: (tag, 3, 1, word(value))
        for tag, value in (
            (256, SIDE),
            (257, SIDE),
            (258, 8),
            (259, 1),
            (262, 1),
            (277, 1),
            (278, SIDE),
        )
    }
    if not tiled:
        found[273] = (273, 4, 1, word(head))
        found[279] = (279, 4, 1, word(len(pixels)))
    found.update({entry[0]: entry for entry in entries})
    place = head + len(pixels)
    packed = b""
    for tag, kind, count, value in sorted(found.values()):
        code = "<HHQ8s" if big else "<HHI4s"
        packed += struct.pack(code, tag, kind, count, value[: 8 if big else 4])
    next_ = place if following < 0 else following
    if big:
        start = struct.pack("<2sHHHQ", b"II", 43, 8, 0, place)
        return start + pixels + struct.pack("<Q", len(found)) + packed + struct.pack("<Q", next_)
    start = struct.pack("<2sHI", b"II", 42, place)
    return start + pixels + struct.pack("<H", len(found)) + packed + struct.pack("<I", next_)


def make_float64() -> bytes:
    return make_tiff(
        [(258, 3, 1, word(64)), (339, 3, 1, word(3)), (279, 4, 1, word(8 * SIDE * SIDE))]
    )


def word(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _pages(count: int) -> bytes:
    """A sound picture, and empty directories behind it."""
    first = make_tiff([])
    place = len(first)
    pages = [struct.pack("<HI", 0, place + 6 * (index + 1)) for index in range(count)]
    pages[-1] = struct.pack("<HI", 0, 0)
    return first[:-4] + struct.pack("<I", place) + b"".join(pages)
