"""Join overlapping tiles: copy each one's own part, fade across the seams.

Across a seam the older tile fades out while the newer one fades in. A ramp never reaches the next
ramp, so at most two tiles meet along an axis and their weights add up to one.
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
    """Width of the fade in input pixels: at most `widest`, what windows share, and their steps."""
    seams = [span.left for span in spans[1:]]
    inside = [
        2 * min(later.left - later.start, earlier.stop - later.left)
        for earlier, later in pairwise(spans)
    ]
    steps = [later - earlier for earlier, later in pairwise(seams)]
    return max(0, min([widest, *inside, *steps])) // 2 * 2


def make_ramp(length: int, blend: Blend) -> NDArray[np.float32]:
    """Weights of the newer tile across a seam, (length,), rising between 0 and 1."""
    position = (np.arange(length, dtype=np.float32) + 0.5) / max(1, length)
    if blend == "cosine":
        return (0.5 - 0.5 * np.cos(np.pi * position)).astype(np.float32)
    if blend == "crop":
        return (position >= 0.5).astype(np.float32)
    return np.asarray(position, np.float32)


@dataclass(frozen=True, slots=True)
class Patch:
    """Where one window's result goes on a canvas, along one axis, in output pixels.

    fade_begin..copy_begin: fades in over what is there; empty without a ramp
    copy_begin..end: is copied
    offset: canvas position - offset = position in the window's result
    """

    fade_begin: int
    copy_begin: int
    end: int
    offset: int


def place_span(span: Span, *, scale: int, ramp_length: int) -> Patch:
    """Where a window's result is pasted, its left seam fading over `ramp_length` output pixels."""
    half = ramp_length // 2
    begin = span.left * scale
    fades = half if span.left > 0 else 0
    # the part behind the right seam waits there for the next window to fade in over it
    end = min(span.right * scale + half, span.stop * scale)
    return Patch(begin - fades, begin + fades, end, span.start * scale)


def paste_span(
    canvas: Array, piece: Array, span: Span, *, axis: int, scale: int, ramp: NDArray[np.float32]
) -> None:
    """Paste a window's result into `canvas` along one axis, fading in over what is there.

    canvas: covers the whole axis, scale * length
    piece: covers the window, scale * (stop - start)
    ramp: make_ramp's weights, in output pixels; the first window has none before it
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
