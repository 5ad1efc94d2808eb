"""Decode PGM and PPM files of more than 8 bits, which Pillow cuts to 8. Netpbm: pgm(5), ppm(5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.errors import TruncatedImageError
from restora.image.photo import Pixels

_CHANNELS = {b"P2": 1, b"P5": 1, b"P3": 3, b"P6": 3}
_PLAIN = (b"P2", b"P3")
_DIGITS_AND_SPACE = b"0123456789 \t\r\n\v\f"
_COMMENT = re.compile(rb"#[^\r\n]*")
# white space and comments, then digits
_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})(?=\s|#)")


@dataclass(frozen=True, slots=True)
class PnmHeader:
    """white: the value that means white; offset: of the first pixel's byte"""

    kind: bytes
    width: int
    height: int
    white: int
    offset: int

    @property
    def channels(self) -> int:
        return _CHANNELS[self.kind]


def read_pnm_header(data: bytes) -> PnmHeader | None:
    """None for other kinds of Netpbm files: bitmaps, PAM, floating point."""
    kind = data[:2]
    if kind not in _CHANNELS:
        return None
    numbers, position = [], 2
    for _ in range(3):
        found = _NUMBER.match(data, position)
        if found is None:
            return None
        numbers.append(int(found[1]))
        position = found.end()
    width, height, white = numbers
    return PnmHeader(kind, width, height, white, position + 1)


def decode_deep_pnm(data: bytes, header: PnmHeader, *, name: str) -> Pixels:
    """uint16 over its whole range, (height, width) or (height, width, 3)."""
    count = header.width * header.height * header.channels
    if not 255 < header.white < 65536:
        raise TruncatedImageError(f"{name} is damaged: its white is {header.white}")
    if header.kind in _PLAIN:
        values = _read_plain(data[header.offset :], name)[:count]
    else:
        have = (len(data) - header.offset) // 2
        values = np.frombuffer(data, ">u2", min(count, have), header.offset)
    if len(values) != count:
        raise TruncatedImageError(f"{name} ends early: {len(values)} of {count} values")
    white = header.white
    level = np.clip(values, 0, white) if white == 65535 else _stretch(values, white)
    shape = (header.height, header.width, 3)[: 2 if header.channels == 1 else 3]
    return np.ascontiguousarray(level.astype(np.uint16).reshape(shape))


def _read_plain(text: bytes, name: str) -> NDArray[np.int32]:
    text = _COMMENT.sub(b" ", text)
    if text.translate(None, _DIGITS_AND_SPACE):
        raise TruncatedImageError(f"{name} is damaged: it must hold decimal numbers only")
    return np.fromstring(text.decode("ascii"), np.int32, sep=" ")


def _stretch(values: NDArray[Any], white: int) -> NDArray[np.uint16]:
    table = np.rint(np.arange(white + 1) * (65535.0 / white)).astype(np.uint16)
    return np.asarray(table[np.clip(values, 0, white).astype(np.uint16)])
