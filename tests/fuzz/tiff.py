"""Mutations of TIFF files: entries of directories, the links between them, the byte order."""

from __future__ import annotations

from random import Random
from typing import Literal

from fuzz.mutate import draw_integer

TAGS = (
    *(254, 255, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 280, 281, 282, 284),
    *(292, 293, 296, 301, 305, 315, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 338),
    *(339, 340, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33432, 33550, 33723, 33922, 34377),
    *(34665, 34675, 34853, 37500, 40961, 42112, 50706, 50838, 50839, 65000),
)
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34712, 34887, 34925, 50000, 50001, 50002)
_TYPES = range(19)


def mutate_tiff(data: bytes, rng: Random) -> bytes:
    """Raises ValueError if there is no directory to mutate."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    wide = int.from_bytes(data[2:4], order) == 43
    directories = _find_directories(data, order, wide)
    if not directories:
        raise ValueError("no TIFF directory")
    changed = bytearray(data)
    position, count = rng.choice(directories)
    size, word = (20, 8) if wide else (12, 4)
    entry = position + rng.randrange(max(1, count)) * size
    what = rng.randrange(13)
    if what == 0:
        _put(changed, entry, rng.choice(TAGS), 2, order)
    elif what == 1:
        _put(changed, entry + 2, rng.choice(_TYPES), 2, order)
    elif what == 2:
        _put(changed, entry + 4, draw_integer(rng, word), word, order)
    elif what in (3, 4, 5):
        _put(changed, entry + 4 + word, draw_integer(rng, word), word, order)
    elif what == 6:  # a whole entry: what is read before it is known what it is
        _put(changed, entry, rng.choice((274, 700, 34675, 258, 339, 338, 273, 279)), 2, order)
        _put(changed, entry + 2, rng.choice(_TYPES), 2, order)
        _put(changed, entry + 4, rng.choice((0, 1, 2, 4, draw_integer(rng, word))), word, order)
        _put(changed, entry + 4 + word, draw_integer(rng, word), word, order)
    elif what == 7:  # the next directory: this one, none, anywhere
        target = rng.choice((position - (8 if wide else 2), 0, 8, rng.randrange(len(data))))
        _put(changed, position + count * size, target, word, order)
    elif what == 8:
        _put(changed, position - (8 if wide else 2), draw_integer(rng, 2), 2, order)
    elif what == 9:
        changed[:2] = b"MM" if order == "little" else b"II"
    elif what == 10:
        changed[2:4] = (42 if wide else 43).to_bytes(2, order)
    elif what == 11:
        _set_tag(changed, (position, count, size), rng, order, word)
    else:
        other = position + rng.randrange(max(1, count)) * size
        changed[entry : entry + size] = changed[other : other + size]
    return bytes(changed)


def _set_tag(
    changed: bytearray,
    directory: tuple[int, int, int],
    rng: Random,
    order: Literal["little", "big"],
    word: int,
) -> None:
    """One of the few tags that decide how pixels are laid out gets another valid value."""
    position, count, size = directory
    values = {
        256: (0, 1, 4, 46336, 65535, 1_000_000),
        257: (0, 1, 4, 46336, 65535, 1_000_000),
        258: (0, 1, 2, 4, 7, 8, 12, 16, 24, 32, 64),
        259: _COMPRESSIONS,
        262: (0, 1, 2, 3, 4, 5, 6, 8, 32803),
        266: (1, 2, 3),
        274: (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
        277: (0, 1, 2, 3, 4, 5, 255, 65535),
        278: (0, 1, 3, 46336, (1 << 32) - 1),
        284: (1, 2, 3),
        317: (1, 2, 3, 4),
        322: (0, 1, 16, 46336, 65536),
        323: (0, 1, 16, 46336, 65536),
        338: (0, 1, 2, 3),
        339: (1, 2, 3, 4, 5, 6),
    }
    places = {}
    for index in range(count):
        entry = position + index * size
        tag = int.from_bytes(changed[entry : entry + 2], order)
        if tag in values:
            places[tag] = entry
    if places:
        tag = rng.choice(list(places))
        kind = int.from_bytes(changed[places[tag] + 2 : places[tag] + 4], order)
        length = 2 if kind == 3 else 4
        value = rng.choice(values[tag]) & ((1 << 8 * length) - 1)
        _put(changed, places[tag] + 4 + word, value, length, order)


def _find_directories(
    data: bytes, order: Literal["little", "big"], wide: bool
) -> list[tuple[int, int]]:
    """(position of the first entry, number of entries) of each, in order."""
    size, word, head = (20, 8, 8) if wide else (12, 4, 2)
    first = 8 if wide else 4
    offset = int.from_bytes(data[first : first + word], order)
    found: list[tuple[int, int]] = []
    while 0 < offset < len(data) - head and len(found) < 16:
        count = int.from_bytes(data[offset : offset + head], order)
        if count > 1000 or (offset + head, count) in found:
            break
        found.append((offset + head, count))
        end = offset + head + count * size
        offset = int.from_bytes(data[end : end + word], order)
    return found


def _put(
    changed: bytearray, position: int, value: int, size: int, order: Literal["little", "big"]
) -> None:
    if position >= 0 and position + size <= len(changed):
        changed[position : position + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, order)
