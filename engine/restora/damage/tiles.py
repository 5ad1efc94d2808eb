"""Run a network over a photo of any size, tile by tile: only the pixels of one tile at a time have
the type that the network takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from restora.backends import Session
from restora.tiling import Tiling, plan_tiles
from restora.tiling.blend import paste_span
from restora.tiling.grid import Span

Index = NDArray[np.intp]
Cut = Callable[[Index, Index], NDArray[np.uint8]]
Compute = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

TILE_PX = 512


def compute_tiles(
    height: int,
    width: int,
    cut: Cut,
    compute: Compute,
    *,
    session: Session,
    check: Callable[[], None] | None = None,
) -> NDArray[np.uint8]:
    """The results of all tiles, joined: (height, width, channels).

    cut: the pixels in these rows and columns, (rows, columns, channels)
    compute: maps them to a result of the same height and width
    session: decides the overlap and the sizes of tiles
    check: called before each tile; what it raises ends this
    """
    multiple = session.limits.multiple
    tall, wide = (side + -side % multiple for side in (height, width))
    size = min(TILE_PX, session.limits.max_tile or TILE_PX) // multiple * multiple
    tiling = Tiling(size=size, overlap=session.info.overlap_px)
    plan = plan_tiles(tall, wide, tiling, multiple=multiple, scale=1)
    channels = session.info.output_channels
    canvas = np.empty((tall, wide, channels), np.uint8)
    for rows in plan.rows:
        strip = np.empty((rows.stop - rows.start, wide, channels), np.uint8)
        for columns in plan.cols:
            if check is not None:
                check()
            result = compute(cut(_inside(rows, height), _inside(columns, width)))
            paste_span(strip, result, columns, axis=1, scale=1, ramp=plan.col_ramp)
        paste_span(canvas, strip, rows, axis=0, scale=1, ramp=plan.row_ramp)
    return canvas[:height, :width]


def _inside(span: Span, length: int) -> Index:
    """The pixels of a span; beyond the end of the photo they are mirrored."""
    period = max(1, 2 * (length - 1))
    place = np.arange(span.start, span.stop) % period
    return np.minimum(place, period - place) if length > 1 else np.zeros_like(place)
