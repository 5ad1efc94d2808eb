"""Join overlapping tiles: copy each one's own part, fade across the seams.

Across a seam the older tile fades out while the newer one fades in. A ramp never reaches the next
ramp, so at most two tiles meet along an axis and their weights add up to one.
"""

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


def paste_span(
    canvas: Array, piece: Array, span: Span, *, axis: int, scale: int, ramp: NDArray[np.float32]
) -> None:
    """Paste a window's result into `canvas` along one axis, fading in over what is there.

    canvas  covers the whole axis, scale * length
    piece   covers the window, scale * (stop - start)
    ramp    make_ramp's weights, in output pixels; the first window has none before it
    """
    half = len(ramp) // 2
    canvas, piece = np.moveaxis(canvas, axis, 0), np.moveaxis(piece, axis, 0)
    offset = span.start * scale
    begin, end = span.left * scale, span.right * scale
    if span.left > 0 and half:
        low, high = begin - half, begin + half
        newer = piece[low - offset : high - offset].astype(np.float32)
        older = canvas[low:high].astype(np.float32)
        shape = (-1, *[1] * (piece.ndim - 1))
        mixed = older + (newer - older) * ramp.reshape(shape)
        canvas[low:high] = np.rint(mixed) if canvas.dtype == np.uint8 else mixed
        begin = high
    # the part behind the right seam waits there for the next window to fade in over it
    end = min(end + half, span.stop * scale)
    canvas[begin:end] = piece[begin - offset : end - offset]
