"""Files made to hurt: what is no regular file, names, giants, bombs, lies in every format.

Most must fail, each with its error; those whose pixels are sound must be restored.
"""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from restora_tools.endurance.pictures import (
    ANY_ERROR,
    CUT,
    DANGLING,
    UNKNOWN,
    PictureFile,
    encode_picture,
    make_deep,
    make_picture,
    make_several,
)

SIDE = 24  # of the pictures whose files lie
_NOT_A_FILE, _TOO_LARGE, _MEMORY = "NotAFileError", "FileTooLargeError", "MemoryLimitError"
_UNSUPPORTED, _MANY, _ANIMATED = "UnsupportedImageError", "ImageTooLargeError", "AnimatedImageError"
_GIGA = 1 << 30
Entry = tuple[int, int, int, bytes]  # tag, type, count, value or offset as stored


def make_hostile() -> list[PictureFile]:
    """About 120 that must fail, and some that must be restored."""
    return [
        *_no_files(),
        *_giants(),
        *_names(),
        *_lying_pngs(),
        *_lying_tiffs(),
        *_bombs(),
        *_several(),
        *_cut_deep(),
        *_odd(),
    ]


def _no_files() -> Iterator[PictureFile]:
    for name in ("pipe.jpg", "pipe.png", "pipe.tif", "-pipe.webp", "pipe\n.gif", "管.bmp"):
        yield _special(name, os.mkfifo, _NOT_A_FILE)
    for name in ("socket.jpg", "socket.png"):
        yield _special(name, _make_socket, DANGLING)  # no call opens one
    for index, device in enumerate(("zero", "zero", "full", "null", "random")):
        yield _special(f"to-{device}-{index}.png", _link_to(f"/dev/{device}"), _NOT_A_FILE)
    for name in ("nowhere.jpg", "nowhere.tif", "-nowhere.png", "no\x1b[31mwhere.png"):
        yield _special(name, _link_to("absent/deeper"), DANGLING)
    for name in ("itself.jpg", "itself.png"):
        yield _special(name, _link_to(name), DANGLING)
    yield _special("round-1.png", _link_to("round-2.png"), DANGLING)
    yield _special("round-2.png", _link_to("round-1.png"), DANGLING)
    yield _special("long.png", _link_to("x" * 300), DANGLING)
    yield _special("to-a-pipe.png", _link_to("pipe.png"), _NOT_A_FILE)
    yield _special("to-itself.png", _link_to("itself.png"), DANGLING)


def _giants() -> Iterator[PictureFile]:
    """Sparse: they take no space on the disk."""
    heads = {"jpg": b"\xff\xd8\xff\xe0", "png": _PNG, "tif": b"II*\0\x08\0\0\0", "bmp": b"BM"}
    for size in (3, 30):
        for ending, head in heads.items():
            yield _special(f"giant-{size}.{ending}", _sparse(head, size * _GIGA), _TOO_LARGE)
    yield _special("giant-zeros.jpg", _sparse(b"", 30 * _GIGA), _TOO_LARGE)
    yield _special("to-a-giant.jpg", _link_to("giant-30.jpg"), _TOO_LARGE)


def _names() -> Iterator[PictureFile]:
    """Sound pictures and broken ones, under names that are hard to write, print or parse."""
    names = (
        *(
            "new\nline",
            "es\x1b]0;title\x07cape",
            "漢" * 80,
            "-o",
            "--overwrite",
            "..x",
            "a..",
            "%s%n",
        ),
        *(
            "[red]",
            "a b",
            "'quoted'",
            '"',
            "*",
            "?",
            "$HOME",
            "`id`",
            "x\r",
            "\u202egpj",
            "é",
            "e\u0301",
        ),
        *(
            os.fsdecode(b"\xff\xfe"),
            os.fsdecode(b"caf\xe9"),
            "~",
            "#",
            "a;b",
            "|",
            "&",
            "\t",
            "C:\\x",
        ),
    )
    for index, name in enumerate(names):
        if name.startswith("."):  # hidden files are left out of a run
            name = f"x{name}"
        good = encode_picture(make_picture(400 + index, (20, 12)), "PNG")
        if index % 3 == 0:
            yield PictureFile(f"{name}.png", good[:-30], error=CUT, exact=True)
        else:
            yield PictureFile(f"{name}.png", good, (20, 12), exact=True)


def _lying_pngs() -> Iterator[PictureFile]:
    for depth in (8, 16):
        for color in (0, 2, 6):
            head = _PNG + _chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, depth, color, 0, 0, 0))
            data = head + struct.pack(">I", 0xFFFFFFE0) + b"IDAT" + bytes(40)
            yield _broken(f"idat-{color}-{depth}.png", data, CUT)
    for depth in (1, 2, 4, 8):
        rows = zlib.compress(bytes((1 + (SIDE * depth + 7) // 8) * SIDE))
        yield _broken(f"no-plte-{depth}.png", _png(SIDE, SIDE, depth, 3, (b"IDAT", rows)), CUT)
    rows = zlib.compress(bytes(100))
    yield _broken("short-rows.png", _png(SIDE, SIDE, 8, 2, (b"IDAT", rows)), CUT)
    yield _broken("no-size.png", _png(0, SIDE, 8, 2, (b"IDAT", rows)), CUT)
    yield _broken("no-idat.png", _png(SIDE, SIDE, 8, 2), CUT)


def _lying_tiffs() -> Iterator[PictureFile]:
    long = (3_000_000_000).to_bytes(4, "little")
    for tag in (34675, 700):
        # the block cannot be had, the pixels can
        yield _good(f"tag-{tag}.tif", make_tiff([(tag, 4, 1, long)]))
    for name, entry in {
        "ascii": (274, 2, 2, b"6\0\0\0"),
        "byte": (274, 1, 1, b"\x06\0\0\0"),
        "undefined": (274, 7, 1, b"\x06\0\0\0"),
        "nan": (274, 11, 1, struct.pack("<f", float("nan"))),
    }.items():
        yield _good(f"turned-{name}.tif", make_tiff([entry]))
    for name, entry in {
        "negative": (34675, 9, 1, b"\xff\xff\xff\xff"),
        "float": (34675, 11, 1, struct.pack("<f", 1e9)),
        "ascii": (34675, 2, 4, b"icc\0"),
    }.items():
        yield _good(f"icc-{name}.tif", make_tiff([entry]))
    for size in (1 << 62, (1 << 64) - 1):
        entry = (34675, 7, size, (16).to_bytes(8, "little"))
        yield _good(f"icc-{size:x}.tif", make_tiff([entry], big=True))
    lie = [(322, 4, 1, _word(46336)), (323, 4, 1, _word(46336)), (324, 4, 1, _word(8))]
    lie += [(325, 4, 1, _word(64))]
    yield _broken("tile-lie.tif", make_tiff([*lie, (259, 3, 1, _word(5))], tiled=True), ANY_ERROR)
    yield _broken("tile-lie-raw.tif", make_tiff(lie, tiled=True), ANY_ERROR)
    yield _broken("strip-lie.tif", make_tiff([(279, 4, 1, _word(0xFFFFFFFF))]), ANY_ERROR)
    yield _broken("strip-offset.tif", make_tiff([(273, 4, 1, _word(0xFFFFFFF0))]), ANY_ERROR)
    yield _broken("many-strips.tif", make_tiff([(273, 4, 1 << 28, _word(8))]), ANY_ERROR)
    yield _broken("samples.tif", make_tiff([(277, 3, 1, _word(65535))]), ANY_ERROR)
    yield _broken("bits.tif", make_tiff([(258, 3, 1, _word(64))]), ANY_ERROR)
    yield _broken("no-compression.tif", make_tiff([(259, 3, 1, _word(60000))]), ANY_ERROR)
    yield _broken("next-is-itself.tif", make_tiff([], following=-1), ANY_ERROR)
    yield _broken("60000-pages.tif", _pages(60_000), _ANIMATED)


def _bombs() -> Iterator[PictureFile]:
    for name, size, depth, color in (
        ("bomb-1", (20_000, 20_000), 1, 0),
        ("bomb-rgb", (30_000, 30_000), 8, 2),
        ("bomb-16", (16_000, 16_000), 16, 6),
        ("bomb-wide", (2_000_000_000, 1), 8, 2),
        ("bomb-tall", (1, 2_000_000_000), 8, 0),
        ("bomb-gray-alpha", (60_000, 60_000), 8, 4),
    ):
        yield _broken(f"{name}.png", _png(*size, depth, color, (b"IDAT", _zeros(1 << 20))), _MANY)
    yield _broken(
        "bomb-memory.png", _png(13_000, 13_000, 16, 6, (b"IDAT", _zeros(1 << 20))), _MEMORY
    )
    for ending, data in {
        "bmp": struct.pack(
            "<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6
        ),
        "gif": b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\0\0\0\0\xff\xff\xff\xff\0\x08\x02L\x01\0;",
        "ppm": b"P6 99999 99999 255\n\0",
        "tif": make_tiff([(256, 4, 1, _word(99_999)), (257, 4, 1, _word(99_999))]),
    }.items():
        yield _broken(f"bomb.{ending}", data, _MANY)
    metadata = (b"iCCP", b"x\0\0" + _zeros(100 << 20)), (b"zTXt", b"x\0\0" + _zeros(100 << 20))
    rows = (b"IDAT", zlib.compress(bytes((1 + SIDE) * SIDE)))
    for name, block in zip(("iccp", "ztxt"), metadata, strict=True):
        yield _broken(f"bomb-{name}.png", _png(SIDE, SIDE, 8, 0, block, rows), ANY_ERROR)
    yield _broken("scans.jpg", make_scan_bomb(2000, scans=250_000), _UNSUPPORTED)


def _several() -> Iterator[PictureFile]:
    for format_, ending in {
        "GIF": "gif",
        "WEBP": "webp",
        "PNG": "png",
        "TIFF": "tif",
        "AVIF": "avif",
    }.items():
        yield _broken(f"moving-2.{ending}", make_several(format_), _ANIMATED)
    for name in ("float32", "int32", "float64"):
        data = encode_picture(make_deep(name), "TIFF") if name != "float64" else _float64()
        yield _broken(f"{name}.tif", data, _UNSUPPORTED)


def _cut_deep() -> Iterator[PictureFile]:
    """Truncated ones of what is decoded in other ways than 8-bit pictures."""
    deep = _png(SIDE, SIDE, 16, 2, (b"IDAT", zlib.compress(os.urandom((1 + 6 * SIDE) * SIDE))))
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
            yield _broken(f"cut-{int(100 * share)}-{name}", data[:end], error)


def _odd() -> Iterator[PictureFile]:
    yield _broken("only-a-start.png", _PNG, CUT)
    yield _broken("only-a-start.tif", b"II*\0", CUT)
    yield _broken("page.svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", UNKNOWN)
    yield _broken("phone.jpg", b"\0\0\0\x18ftypheic" + bytes(200), UNKNOWN)
    yield _broken("zeros.jpg", bytes(100_000), UNKNOWN)
    yield _broken("text.tif", b"II, she said, is two in Roman numbers" * 20, UNKNOWN)


def make_tiff(
    entries: Sequence[Entry], *, big: bool = False, tiled: bool = False, following: int = 0
) -> bytes:
    """A sound gray picture of SIDE x SIDE, and then these entries, which replace its own.

    following  where the next directory lies; -1: where this one does
    """
    pixels = bytes(range(SIDE)) * SIDE
    head = 16 if big else 8
    found: dict[int, Entry] = {
        tag: (tag, 3, 1, _word(value))
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
        found[273] = (273, 4, 1, _word(head))
        found[279] = (279, 4, 1, _word(len(pixels)))
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


_PNG = b"\x89PNG\r\n\x1a\n"


def _broken(name: str, data: bytes, error: str) -> PictureFile:
    return PictureFile(f"broken-{name}", data, error=error)


def _good(name: str, data: bytes) -> PictureFile:
    return PictureFile(f"odd-{name}", data, (SIDE, SIDE))


def _special(name: str, place: Callable[[Path], None], error: str) -> PictureFile:
    return PictureFile(name, b"", error=error, exact=True, place=place)


def _link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _sparse(head: bytes, size: int) -> Callable[[Path], None]:
    def place(path: Path) -> None:
        with path.open("wb") as stream:
            stream.write(head)
            stream.truncate(size)

    return place


def _make_socket(path: Path) -> None:
    """Bound by its short name: addresses are of 107 bytes at most."""
    before = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.fchdir(before)
        os.close(before)


def _word(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _chunk(kind: bytes, data: bytes) -> bytes:
    sealed = kind + data
    return struct.pack(">I", len(data)) + sealed + struct.pack(">I", zlib.crc32(sealed))


def _png(width: int, height: int, depth: int, color: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IEND", b""))
    return _PNG + b"".join(_chunk(*part) for part in parts)


def _zeros(count: int) -> bytes:
    deflater = zlib.compressobj(9)
    parts = [deflater.compress(bytes(1 << 20)) for _ in range(count >> 20)]
    return b"".join((*parts, deflater.flush()))


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _pages(count: int) -> bytes:
    """A sound picture, and empty directories behind it."""
    first = make_tiff([])
    place = len(first)
    pages = [struct.pack("<HI", 0, place + 6 * (index + 1)) for index in range(count)]
    pages[-1] = struct.pack("<HI", 0, 0)
    return first[:-4] + struct.pack("<I", place) + b"".join(pages)


def _float64() -> bytes:
    return make_tiff(
        [(258, 3, 1, _word(64)), (339, 3, 1, _word(3)), (279, 4, 1, _word(8 * SIDE * SIDE))]
    )
