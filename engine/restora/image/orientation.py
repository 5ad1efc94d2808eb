"""EXIF orientation: turn pixels upright, and reset the tag without touching any other byte."""

import re
import struct

import numpy as np

from restora.image.photo import Pixels

_TAG = 274
_XMP = re.compile(rb"(tiff:Orientation(?:=[\"']|>)\s*)[1-8]")


def find_orientation(tiff: bytes) -> int:
    """The orientation, 1..8, in the first directory of a TIFF structure; 1 if there is none."""
    place = _find_value(tiff)
    if place is None:
        return 1
    position, order = place
    (value,) = struct.unpack_from(order + "H", tiff, position)
    return value if 1 <= value <= 8 else 1


def reset_orientation(tiff: bytes) -> bytes:
    """The same bytes with the orientation 1."""
    place = _find_value(tiff)
    if place is None:
        return tiff
    position, order = place
    return tiff[:position] + struct.pack(order + "H", 1) + tiff[position + 2 :]


def reset_xmp_orientation(xmp: bytes) -> bytes:
    return _XMP.sub(rb"\g<1>1", xmp)


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: pixels as stored -> pixels as seen, (h, w) or (h, w, c)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _find_value(tiff: bytes) -> tuple[int, str] | None:
    """Where the value of the orientation tag lies, and the byte order; None if there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    if directory + 2 > len(tiff):
        return None
    (entries,) = struct.unpack_from(order + "H", tiff, directory)
    for position in range(directory + 2, directory + 2 + 12 * entries, 12):
        if position + 12 > len(tiff):
            return None
        tag, kind = struct.unpack_from(order + "HH", tiff, position)
        if tag == _TAG and kind == 3:  # SHORT
            return position + 8, order
    return None
