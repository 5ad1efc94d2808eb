"""Blend overlapping tiles.

Each tile is copied except near its seams. Across a seam the older tile fades out while the newer
one fades in. Ramps never overlap, so at most two tiles contribute to a pixel along an axis, and
their weights add up to one.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from restora.tiling.grid import Span

Blend = Literal["linear", "cosine", "crop"]
Array = NDArray[np.uint8 | np.float32]


def find_ramp(spans: list[Span], *, widest: int) -> int:
    """Width of the ramp in input pixels, an even number.

    It is limited by `widest`, by the overlap of neighbors and by the distance between seams.
    """
    seams = [span.left for span in spans[1:]]
    inside = [
        2 * min(later.left - later.start, earlier.stop - later.left)
        for earlier, later in pairwise(spans)
    ]
    steps = [later - earlier for earlier, later in pairwise(seams)]
    return max(0, min([widest, *inside, *steps])) // 2 * 2


def make_ramp(length: int, blend: Blend) -> NDArray[np.float32]:
    """Weights of the newer tile across a seam: (length,), rising from 0 to 1."""
    position = (np.arange(length, dtype=np.float32) + 0.5) / max(1, length)
    if blend == "cosine":
        return (0.5 - 0.5 * np.cos(np.pi * position)).astype(np.float32)
    if blend == "crop":
        return (position >= 0.5).astype(np.float32)
    return np.asarray(position, np.float32)


@dataclass(frozen=True, slots=True)
class Patch:
    """Where the result of a window goes on the canvas, along one axis, in output pixels.

    fade_begin..copy_begin: the range that is blended with the canvas; empty without a ramp
    copy_begin..end: the range that is copied
    offset: canvas position minus position in the result
    """

    fade_begin: int
    copy_begin: int
    end: int
    offset: int


def place_span(span: Span, *, scale: int, ramp_length: int) -> Patch:
    """Compute where the result of a window is pasted.

    ramp_length: width of the ramp at its left seam, in output pixels
    """
    half = ramp_length // 2
    begin = span.left * scale
    fades = half if span.left > 0 else 0
    # the ramp of the next window needs half a ramp of this window beyond the right seam
    end = min(span.right * scale + half, span.stop * scale)
    return Patch(begin - fades, begin + fades, end, span.start * scale)


def paste_span(
    canvas: Array, piece: Array, span: Span, *, axis: int, scale: int, ramp: NDArray[np.float32]
) -> None:
    """Paste the result of a window into `canvas` along one axis, blended at its left seam.

    canvas: covers the whole axis, scale * length
    piece: covers the window, scale * (stop - start)
    ramp: the weights of make_ramp, one per output pixel; the first window is not blended
    """
    patch = place_span(span, scale=scale, ramp_length=len(ramp))
    canvas, piece = np.moveaxis(canvas, axis, 0), np.moveaxis(piece, axis, 0)
    low, begin, offset = patch.fade_begin, patch.copy_begin, patch.offset
    if begin > low:
        newer = piece[low - offset : begin - offset].astype(np.float32)
        older = canvas[low:begin].astype(np.float32)
        shape = (-1, *[1] * (piece.ndim - 1))
        mixed = older + (newer - older) * ramp.reshape(shape)
        canvas[low:begin] = np.rint(mixed) if canvas.dtype == np.uint8 else mixed
    canvas[begin : patch.end] = piece[begin - offset : patch.end - offset]
