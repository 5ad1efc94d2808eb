"""TIFF files made entry by entry, for layouts and lies that no library writes."""

import struct

SHORT, LONG = 3, 4


def build(
    rows: list[tuple[int, int, list[int]]], strips: dict[int, bytes], order: str = "<"
) -> bytes:
    """A classic TIFF file of one directory; values longer than four bytes lie behind it."""
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    behind = 8 + 2 + 12 * len(rows) + 4
    table, values = struct.pack(order + "H", len(rows)), b""
    for tag, kind, content in rows:
        if tag in strips:
            content = [behind + len(values)]
            values += strips[tag]
        packed = struct.pack(f"{order}{len(content)}{'BHHHI'[kind] if kind < 5 else 'I'}", *content)
        table += struct.pack(order + "HHI", tag, kind, len(content))
        if len(packed) <= 4:
            table += packed.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", behind + len(values))
            values += packed
    return head + table + b"\0\0\0\0" + values


def tiff(*extra: tuple[int, int, list[int]], side: int = 4, strip: bytes | None = None) -> bytes:
    """A gray picture of side x side, with further entries; they replace those of the same tag."""
    strip = bytes(side * side) if strip is None else strip
    rows = {
        row[0]: row
        for row in [
            (256, LONG, [side]), (257, LONG, [side]), (258, SHORT, [8]), (259, SHORT, [1]),
            (262, SHORT, [1]), (273, LONG, [0]), (277, SHORT, [1]), (278, LONG, [side]),
            (279, LONG, [len(strip)]), *extra,
        ]
    }  # fmt: skip
    return build([rows[tag] for tag in sorted(rows)], {273: strip})
