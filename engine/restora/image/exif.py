"""EXIF blocks: orientation, and what a TIFF file keeps among its own tags instead of in a block."""

from __future__ import annotations

import struct

from restora.image.ifd import (
    EXIF,
    GPS,
    INTEROPERABILITY,
    ORIENTATION,
    Entry,
    IfdError,
    Structure,
    iter_directories,
    structure_of,
)

_SHORT, _LONG = 3, 4
_POINTERS = (EXIF, GPS, INTEROPERABILITY)
# tags of a TIFF file that say how its pixels are stored, not what the picture is
_STRUCTURAL = {
    254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 284, 317, 320,
    322, 323, 324, 325, 330, 332, 338, 339, 347, 529, 530, 531, 532, 700, 33723, 34377, 34675,
}  # fmt: skip
_CLASSIC_KINDS = range(1, 14)
_MAX_LONG = 2**32 - 1
_MAX_DEPTH = 2  # EXIF lies below the first directory, interoperability below EXIF


def is_sound(block: bytes) -> bool:
    """Whether all directories of an EXIF block can be read, and claim no more than it can hold."""
    try:
        structure = structure_of(block)
        return all(
            structure.holds(entry)
            for entries in iter_directories(structure)
            for entry in entries.values()
        )
    except IfdError:
        return False


def find_orientation(block: bytes) -> int:
    """The orientation, 1..8, in the first directory of a TIFF structure; 1 if there is none."""
    place = _find_orientation(block)
    if place is None:
        return 1
    (value,) = struct.unpack_from(place[1] + "H", block, place[0])
    return value if 1 <= value <= 8 else 1


def reset_orientation(block: bytes) -> bytes:
    """The same bytes with the orientation 1."""
    place = _find_orientation(block)
    if place is None:
        return block
    position, order = place
    return block[:position] + struct.pack(order + "H", 1) + block[position + 2 :]


def exif_from_tiff(structure: Structure) -> bytes | None:
    """An EXIF block of those tags of a TIFF file that describe the picture; None if there are none.

    Values are copied byte by byte, in the file's byte order. Raises IfdError.
    """
    entries, _ = structure.directory(structure.first)
    kept = {tag: entry for tag, entry in entries.items() if tag not in _STRUCTURAL}
    if not kept:
        return None
    head = {"<": b"II", ">": b"MM"}[structure.order] + struct.pack(structure.order + "HI", 42, 8)
    return head + _copy_directory(structure, kept, start=8, depth=0)


def _copy_directory(
    structure: Structure, entries: dict[int, Entry], *, start: int, depth: int
) -> bytes:
    """A classic directory that begins at byte `start`, with its values and those below it."""
    order = structure.order
    rows: list[tuple[Entry, bytes | dict[int, Entry]]] = []
    for tag, entry in sorted(entries.items()):
        if tag in _POINTERS:
            if depth < _MAX_DEPTH and entry.count == 1:
                rows.append((entry, structure.directory(structure.integers(entry)[0])[0]))
        elif entry.kind in _CLASSIC_KINDS and entry.count <= _MAX_LONG:
            rows.append((entry, structure.value(entry)))
    table, values = struct.pack(order + "H", len(rows)), b""
    behind = start + 2 + 12 * len(rows) + 4
    for entry, value in rows:
        at = behind + len(values)
        if isinstance(value, dict):
            values += _even(_copy_directory(structure, value, start=at, depth=depth + 1))
            table += struct.pack(order + "HHII", entry.tag, _LONG, 1, at)
        elif len(value) <= 4:
            table += struct.pack(order + "HHI", entry.tag, entry.kind, entry.count)
            table += value.ljust(4, b"\0")
        else:
            table += struct.pack(order + "HHII", entry.tag, entry.kind, entry.count, at)
            values += _even(value)
    return table + b"\0\0\0\0" + values


def _even(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


def _find_orientation(block: bytes) -> tuple[int, str] | None:
    """Where the value of the orientation tag lies, and the byte order; None if there is none."""
    try:
        structure = structure_of(block)
        entries, _ = structure.directory(structure.first)
    except IfdError:
        return None
    entry = entries.get(ORIENTATION)
    if entry is None or entry.kind != _SHORT or entry.count < 1:
        return None
    return entry.offset, structure.order
