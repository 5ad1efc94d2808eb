"""Decode the pixels of a TIFF file with tifffile, all its bits kept."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from restora.errors import TruncatedImageError, UnsupportedImageError
from restora.image.header import find_jpeg_size
from restora.image.photo import Pixels
from restora.image.tiff_header import JPEG, PALETTE, WHITE_IS_ZERO, TiffFacts

_MCU = 16  # pictures may be padded to whole blocks
Samples = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class TiffPixels:
    """Pixels as stored, before orientation: uint8 for up to 8 bits, else uint16 over its range.

    colors: (height, width) for gray, (height, width, 3) for RGB, (height, width, 4) for CMYK
    alpha: (height, width), or None
    """

    colors: Pixels
    alpha: Pixels | None


def decode_tiff_pixels(data: bytes, facts: TiffFacts, *, name: str) -> TiffPixels:
    """Raises TruncatedImageError for missing or damaged strips and tiles, UnsupportedImageError for
    what tifffile does not decode, and whatever else tifffile raises."""
    with TiffFile(BytesIO(data)) as file:
        page = file.pages.first
        assert isinstance(page, TiffPage)
        _check_layout(page, facts, name)
        _check_segments(page, data, facts, name)
        samples = np.asarray(page.asarray(squeeze=False, maxworkers=1))
        if facts.photometric == PALETTE:
            return TiffPixels(_look_up(samples[0, 0, ..., 0], page.colormap, name), None)
    # (separate, depth, height, width, contiguous) -> (height, width, channels)
    samples = np.moveaxis(samples[:, 0, ..., 0], 0, -1) if facts.separate else samples[0, 0]
    return _sort_channels(_widen(samples, facts.bits), facts)


def _check_layout(page: TiffPage, facts: TiffFacts, name: str) -> None:
    """tifffile must see the picture that was judged."""
    channels = (facts.samples, 1) if facts.separate and facts.samples > 1 else (1, facts.samples)
    expected = (channels[0], 1, facts.height, facts.width, channels[1])
    if tuple(page.shaped) != expected:
        raise UnsupportedImageError(
            f"{name}: pixels are expected as {expected}, tifffile finds {tuple(page.shaped)}"
        )


def _check_segments(page: TiffPage, data: bytes, facts: TiffFacts, name: str) -> None:
    """Every strip or tile must lie in the file: what is missing would stay uninitialized."""
    offsets, lengths = page.dataoffsets, page.databytecounts
    # tifffile joins uncompressed strips that lie one behind the other
    joined = page.is_contiguous and len(offsets) == len(lengths) == 1
    complete = prod(page.chunked) == facts.segments == len(offsets) == len(lengths)
    if not (joined or complete):
        raise TruncatedImageError(
            f"{name} must have {facts.segments} strips or tiles, its directory lists {len(offsets)}"
        )
    for offset, length in zip(offsets, lengths, strict=True):
        if length <= 0 or offset <= 0 or offset + length > len(data):
            raise TruncatedImageError(
                f"{name} ends early or is damaged: a strip or tile of {length} bytes at {offset}, "
                f"the file has {len(data)}"
            )
        if facts.compression == JPEG:
            _check_jpeg(data[offset : offset + length], facts, name)
    if page.is_contiguous and int(offsets[0]) + page.nbytes > len(data):
        raise TruncatedImageError(f"{name} ends early: {page.nbytes} bytes at {offsets[0]}")


def _check_jpeg(segment: bytes, facts: TiffFacts, name: str) -> None:
    """A JPEG picture inside must not be larger than its strip or tile: libjpeg takes memory for
    what it says itself."""
    size = find_jpeg_size(segment)
    if size is None or size[0] > facts.segment[0] + _MCU or size[1] > facts.segment[1] + _MCU:
        found = "no size" if size is None else f"{size[1]} x {size[0]}"
        raise TruncatedImageError(
            f"{name} is damaged: a JPEG strip or tile of {facts.segment[1]} x {facts.segment[0]} "
            f"says {found}"
        )


def _widen(samples: NDArray[Any], bits: int) -> Samples:
    """Spread `bits` over 8 or 16, rounded to the nearest value."""
    if bits in (8, 16):
        return samples
    white, dtype = (255, np.uint8) if bits < 8 else (65535, np.uint16)
    table = np.rint(np.arange(2**bits) * (white / (2**bits - 1))).astype(dtype)
    return np.asarray(table[samples.astype(np.uint16)])


def _sort_channels(samples: Samples, facts: TiffFacts) -> TiffPixels:
    white = np.iinfo(samples.dtype).max
    colors = samples[..., : facts.colors]
    alpha = None
    if facts.alpha is not None:
        alpha = np.ascontiguousarray(samples[..., facts.alpha])
        if facts.is_premultiplied:
            colors = _divide_by_alpha(colors, alpha)
    if facts.photometric == WHITE_IS_ZERO:
        colors = white - colors
    colors = colors[..., 0] if facts.colors == 1 else colors
    return TiffPixels(np.ascontiguousarray(colors), alpha)


def _divide_by_alpha(colors: Samples, alpha: Pixels) -> Samples:
    """Undo premultiplication, row band by row band to keep memory flat."""
    white = np.iinfo(colors.dtype).max
    result = np.empty_like(colors)
    for top in range(0, len(colors), 256):
        part = slice(top, top + 256)
        share = alpha[part, :, None].astype(np.float64)
        level = np.divide(
            colors[part] * float(white), share, out=np.zeros(colors[part].shape), where=share > 0
        )
        result[part] = np.rint(np.minimum(level, white))
    return result


def _look_up(indices: NDArray[Any], colormap: NDArray[np.uint16] | None, name: str) -> Pixels:
    """RGB of 8 bits; color maps hold 16."""
    if colormap is None or colormap.ndim != 2 or len(colormap) != 3:
        raise TruncatedImageError(f"{name} is a palette picture without a color map")
    # some old writers filled the low 8 bits, which libtiff tells the same way; others left them 0
    shift = 8 if int(colormap.max()) > 255 else 0
    table = (np.asarray(colormap).T >> shift).astype(np.uint8)
    if int(indices.max()) >= len(table):
        raise TruncatedImageError(f"{name} names a color that its map does not have")
    return np.ascontiguousarray(table[indices])
