"""Write 16-bit PNG files: grey, grey with alpha, RGB, RGBA, with their metadata.

Pillow cannot, and OpenCV knows neither grey with alpha nor ICC and XMP.
PNG specification, third edition, W3C 2025.
"""

import struct
import zlib

import numpy as np

from restora.image.photo import Metadata, Photo

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG colour type
_FILTER_UP = 2
_LEVEL = 1  # encoding must not cost more than restoring


def encode_png16(photo: Photo, metadata: Metadata) -> bytes:
    """The PNG file of a uint16 photo."""
    channels = photo.pixels if photo.pixels.ndim == 3 else photo.pixels[..., None]
    if photo.alpha is not None:
        channels = np.concatenate((channels, photo.alpha[..., None]), axis=2)
    height, width, count = channels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[count], 0, 0, 0)
    chunks = [(b"IHDR", header)]
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append((b"iTXt", xmp_text(metadata.xmp)))
    chunks += [(b"IDAT", _compress(channels)), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def xmp_text(xmp: bytes) -> bytes:
    """Content of the iTXt chunk that holds an XMP packet: uncompressed, no language."""
    return b"XML:com.adobe.xmp\0\0\0\0\0" + xmp


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _compress(channels: np.ndarray) -> bytes:
    rows = np.ascontiguousarray(channels, ">u2").view(np.uint8).reshape(channels.shape[0], -1)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _FILTER_UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return zlib.compress(filtered.tobytes(), _LEVEL)
