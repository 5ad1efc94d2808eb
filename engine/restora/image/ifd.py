"""Read the directories of a TIFF structure: a TIFF file, or the EXIF block of any picture.

Own code because Pillow knows no big-endian BigTIFF, and because it and tifffile read every value
that a directory claims: 65,535 entries that share one value multiply a file's size by as much.
Here the claims are added up before a value is read. Sources: TIFF 6.0, and for BigTIFF
awaresystems.be/imaging/tiff.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

ORIENTATION, EXIF, GPS, INTEROPERABILITY = 274, 0x8769, 0x8825, 0xA005
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BIG_SIZES = {16: 8, 17: 8, 18: 8}
# BYTE is left out: other readers take it for text, and would see another picture than this one
_CODES = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_ENTRIES = 4096
# values may share bytes; so many times the structure's size is more than any writer needs
_MAX_REPEATS = 4


class Source(Protocol):
    """Bytes that are read by position: fewer than asked for at the end."""

    def __call__(self, offset: int, count: int, /) -> bytes: ...


class IfdError(ValueError):
    """A TIFF structure is damaged, or claims more than it can hold."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory.

    kind: TIFF's number of the value's type
    count: values of that type
    offset: of the value in the structure; it may reach past the end, which reading it finds
    size: of the value in bytes
    """

    tag: int
    kind: int
    count: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Structure:
    """The header of a TIFF structure.

    order: "<" or ">"
    big: whether offsets have 8 bytes (BigTIFF)
    first: offset of the first directory
    size: bytes in all
    """

    read: Source
    order: str
    big: bool
    first: int
    size: int

    def directory(self, offset: int) -> tuple[dict[int, Entry], int]:
        """The entries of the directory at `offset`, and the offset of the next one (0: none).

        Of entries with the same tag the first one counts. Raises IfdError.
        """
        wide = 8 if self.big else 2
        (entries,) = self._unpack("Q" if self.big else "H", offset)
        if entries > _MAX_ENTRIES:
            raise IfdError(f"a directory has at most {_MAX_ENTRIES} entries, this has {entries}")
        length = 20 if self.big else 12
        table = self._exactly(offset + wide, entries * length)
        found: dict[int, Entry] = {}
        for position in range(0, len(table), length):
            entry = self._entry(table, position, offset + wide)
            if entry is not None:
                found.setdefault(entry.tag, entry)
        self.check_claims(found.values())
        end = offset + wide + entries * length
        following = self.read(end, 8 if self.big else 4)
        whole = len(following) == (8 if self.big else 4)
        return found, self._unpack("Q" if self.big else "I", end)[0] if whole else 0

    def holds(self, entry: Entry) -> bool:
        """Whether the value lies inside the structure."""
        return entry.offset + entry.size <= self.size

    def check_claims(self, entries: Iterable[Entry]) -> None:
        """Raise IfdError if the values that lie inside are many times larger than the whole."""
        total = sum(entry.size for entry in entries if self.holds(entry))
        if total > _MAX_REPEATS * self.size:
            raise IfdError(f"its entries claim {total} bytes of {self.size}")

    def value(self, entry: Entry) -> bytes:
        """The value as stored. Raises IfdError if it reaches past the end."""
        return self._exactly(entry.offset, entry.size)

    def integers(self, entry: Entry) -> tuple[int, ...]:
        """The value of an entry of unsigned integers of 16 bits or more.

        Raises IfdError for other types.
        """
        code = _CODES.get(entry.kind)
        if code is None:
            raise IfdError(f"tag {entry.tag} must hold unsigned integers, its type is {entry.kind}")
        return struct.unpack(f"{self.order}{entry.count}{code}", self.value(entry))

    def _entry(self, table: bytes, position: int, start: int) -> Entry | None:
        """None for types that nobody knows."""
        form = self.order + ("HHQ" if self.big else "HHI")
        tag, kind, count = struct.unpack_from(form, table, position)
        inline = 8 if self.big else 4
        each = _SIZES.get(kind) or (_BIG_SIZES.get(kind) if self.big else None)
        if each is None:
            return None
        at = position + struct.calcsize(form)
        offset = start + at
        if each * count > inline:
            (offset,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), table, at)
        return Entry(tag, kind, count, offset, each * count)

    def _unpack(self, code: str, offset: int) -> tuple[int, ...]:
        return struct.unpack(self.order + code, self._exactly(offset, struct.calcsize(code)))

    def _exactly(self, offset: int, count: int) -> bytes:
        data = self.read(offset, count) if offset + count <= self.size else b""
        if len(data) != count:
            raise IfdError(f"it ends before byte {offset + count}")
        return data


def open_structure(read: Source, size: int) -> Structure:
    """The header of a TIFF file or EXIF block of `size` bytes. Raises IfdError."""
    head = read(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise IfdError("it does not begin like a TIFF structure")
    (version,) = struct.unpack_from(order + "H", head, 2)
    if version == 42:
        return Structure(read, order, False, struct.unpack_from(order + "I", head, 4)[0], size)
    if version == 43 and len(head) == 16 and struct.unpack_from(order + "HH", head, 4) == (8, 0):
        return Structure(read, order, True, struct.unpack_from(order + "Q", head, 8)[0], size)
    raise IfdError(f"version 42 or 43 is expected, got {version}")


def structure_of(data: bytes) -> Structure:
    """The same of bytes in memory."""
    return open_structure(lambda offset, count: data[offset : offset + count], len(data))


def iter_directories(structure: Structure) -> Iterator[dict[int, Entry]]:
    """The first directory and those of EXIF, GPS and interoperability below it.

    Raises IfdError as soon as one is damaged or all of them together claim too much.
    """
    waiting = [structure.first]
    seen: set[int] = set()
    every: list[Entry] = []
    while waiting:
        offset = waiting.pop(0)
        if offset in seen:
            continue
        seen.add(offset)
        entries, _ = structure.directory(offset)
        every += entries.values()
        structure.check_claims(every)
        yield entries
        for tag in (EXIF, GPS, INTEROPERABILITY):
            if tag in entries and entries[tag].count == 1:
                waiting += structure.integers(entries[tag])
