"""The errors that hostile files must cause, and the kinds of entries in their list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from restora_tools.endurance.pictures import PictureFile

SIDE = 24  # of the pictures whose files lie
NOT_A_FILE, TOO_LARGE, MEMORY = "NotAFileError", "FileTooLargeError", "MemoryLimitError"
UNSUPPORTED, ANIMATED = "UnsupportedImageError", "AnimatedImageError"
TOO_MANY_PIXELS = "ImageTooLargeError"


def broken_file(name: str, data: bytes, error: str) -> PictureFile:
    return PictureFile(f"broken-{name}", data, error=error)


def good_file(name: str, data: bytes) -> PictureFile:
    return PictureFile(f"odd-{name}", data, (SIDE, SIDE))


def special_file(name: str, place: Callable[[Path], None], error: str) -> PictureFile:
    return PictureFile(name, b"", error=error, exact=True, place=place)
