"""What is no regular file, files of many gigabytes, and names that are hard to handle."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from restora_tools.endurance.hostile.kinds import NOT_A_FILE, TOO_LARGE, special_file
from restora_tools.endurance.hostile.png import PNG_SIGNATURE
from restora_tools.endurance.pictures import (
    CUT,
    DANGLING,
    PictureFile,
    encode_picture,
    make_picture,
)

_GIGA = 1 << 30


def make_special_files() -> Iterator[PictureFile]:
    for name in ("pipe.jpg", "pipe.png", "pipe.tif", "-pipe.webp", "pipe\n.gif", "管.bmp"):
        yield special_file(name, os.mkfifo, NOT_A_FILE)
    for name in ("socket.jpg", "socket.png"):
        yield special_file(name, _make_socket, DANGLING)  # no call opens one
    for index, device in enumerate(("zero", "zero", "full", "null", "random")):
        yield special_file(f"to-{device}-{index}.png", _link_to(f"/dev/{device}"), NOT_A_FILE)
    for name in ("nowhere.jpg", "nowhere.tif", "-nowhere.png", "no\x1b[31mwhere.png"):
        yield special_file(name, _link_to("absent/deeper"), DANGLING)
    for name in ("itself.jpg", "itself.png"):
        yield special_file(name, _link_to(name), DANGLING)
    yield special_file("round-1.png", _link_to("round-2.png"), DANGLING)
    yield special_file("round-2.png", _link_to("round-1.png"), DANGLING)
    yield special_file("long.png", _link_to("x" * 300), DANGLING)
    yield special_file("to-a-pipe.png", _link_to("pipe.png"), NOT_A_FILE)
    yield special_file("to-itself.png", _link_to("itself.png"), DANGLING)


def make_giants() -> Iterator[PictureFile]:
    """Sparse: they take no space on the disk."""
    heads = {
        "jpg": b"\xff\xd8\xff\xe0",
        "png": PNG_SIGNATURE,
        "tif": b"II*\0\x08\0\0\0",
        "bmp": b"BM",
    }
    for size in (3, 30):
        for ending, head in heads.items():
            yield special_file(f"giant-{size}.{ending}", _sparse(head, size * _GIGA), TOO_LARGE)
    yield special_file("giant-zeros.jpg", _sparse(b"", 30 * _GIGA), TOO_LARGE)
    yield special_file("to-a-giant.jpg", _link_to("giant-30.jpg"), TOO_LARGE)


def make_hard_names() -> Iterator[PictureFile]:
    """Sound pictures and broken ones, under names that are hard to write, print or parse."""
    names = (
        *("new\nline", "es\x1b]0;title\x07cape", "漢" * 80, "-o", "--overwrite", "..x"),
        *("a..", "%s%n", "[red]", "a b", "'quoted'", '"', "*", "?", "$HOME", "`id`", "x\r"),
        *("\u202egpj", "é", "e\u0301", os.fsdecode(b"\xff\xfe"), os.fsdecode(b"caf\xe9"), "~", "#"),
        *("a;b", "|", "&", "\t", "C:\\x"),
    )  # fmt: skip
    for index, name in enumerate(names):
        if name.startswith("."):  # hidden files are left out of a run
            name = f"x{name}"
        good = encode_picture(make_picture(400 + index, (20, 12)), "PNG")
        if index % 3 == 0:
            yield PictureFile(f"{name}.png", good[:-30], error=CUT, exact=True)
        else:
            yield PictureFile(f"{name}.png", good, (20, 12), exact=True)


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
