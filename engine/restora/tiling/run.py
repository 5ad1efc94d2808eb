"""Run a network over a whole picture tile by tile."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from restora.errors import OptionError, ShapeError
from restora.tiling.blend import Array, Blend, find_ramp, make_ramp, paste_span
from restora.tiling.grid import Span, split_axis, split_published

Network = Callable[[Array], Array]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a picture is cut.

    size     largest side of a tile in input pixels; 0 = the whole picture at once
    overlap  input pixels that neighbours share
    batch    tiles per call of the network
    blend    how neighbours are joined; "crop" is the published hard cut
    fixed    tiles measure exactly `size`
    published_grid  the published script's grid: `size` is the core, overlap / 2 the padding
    """

    size: int = 256
    overlap: int = 32
    batch: int = 1
    blend: Blend = "cosine"
    fixed: bool = False
    published_grid: bool = False

    def __post_init__(self) -> None:
        if self.size < 0 or self.overlap < 0 or self.batch < 1:
            raise OptionError(
                "tile size and overlap must not be negative and the batch at least 1, "
                f"got {self.size}, {self.overlap} and {self.batch}"
            )

    def split(self, length: int, multiple: int) -> list[Span]:
        if self.size == 0:
            return [Span(0, length, 0, length)]
        if self.published_grid:
            if self.size % multiple or self.overlap // 2 % multiple:
                raise OptionError(
                    f"on the published grid tile and padding must be multiples of {multiple} for "
                    f"this model, got {self.size} and {self.overlap // 2}"
                )
            return split_published(length, tile=self.size, pad=self.overlap // 2)
        return split_axis(
            length, size=self.size, overlap=self.overlap, multiple=multiple, fixed=self.fixed
        )


@dataclass(frozen=True, slots=True)
class Tile:
    rows: Span
    cols: Span

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start


def run_tiles(
    image: Array,
    network: Network,
    *,
    scale: int,
    tiling: Tiling,
    multiple: int = 1,
    progress: Progress | None = None,
) -> Array:
    """Returns network(image), computed in tiles: (scale * height, scale * width, channels).

    image     (height, width, channels), uint8 or float32, sides multiples of `multiple`
    network   maps (batch, h, w, channels) to (batch, scale * h, scale * w, channels), same dtype
    progress  called with (output pixels done, output pixels in all)
    """
    height, width, channels = image.shape
    rows, cols = tiling.split(height, multiple), tiling.split(width, multiple)
    row_ramp = _output_ramp(rows, tiling, scale)
    col_ramp = _output_ramp(cols, tiling, scale)
    canvas = np.empty((height * scale, width * scale, channels), image.dtype)
    strip: Array = np.empty((0, width * scale, channels), image.dtype)
    done = 0
    for tile, result in _iter_results(image, network, rows, cols, scale, tiling.batch):
        tile_height = tile.shape[0] * scale
        if len(strip) != tile_height:
            strip = np.empty((tile_height, width * scale, channels), image.dtype)
        paste_span(strip, result, tile.cols, axis=1, scale=scale, ramp=col_ramp)
        if tile.cols.right == width:
            paste_span(canvas, strip, tile.rows, axis=0, scale=scale, ramp=row_ramp)
        done += (tile.rows.right - tile.rows.left) * (tile.cols.right - tile.cols.left)
        if progress is not None:
            progress(done * scale**2, height * width * scale**2)
    return canvas


def _output_ramp(spans: list[Span], tiling: Tiling, scale: int) -> NDArray[np.float32]:
    # The outer quarter on either side is left out: there a tile knows least of its surroundings.
    widest = 0 if tiling.blend == "crop" else tiling.overlap // 2
    return make_ramp(find_ramp(spans, widest=widest) * scale, tiling.blend)


def _iter_results(
    image: Array, network: Network, rows: list[Span], cols: list[Span], scale: int, batch: int
) -> Iterator[tuple[Tile, Array]]:
    """Yield each tile with its result, in order; the next batch runs while one is being pasted."""
    batches = list(_iter_batches(rows, cols, batch))

    def run(tiles: list[Tile]) -> Array:
        cut = [
            image[tile.rows.start : tile.rows.stop, tile.cols.start : tile.cols.stop]
            for tile in tiles
        ]
        stacked = np.stack(cut) if len(cut) > 1 else np.ascontiguousarray(cut[0])[None]
        results = network(stacked)
        height, width = tiles[0].shape
        expected = (len(tiles), height * scale, width * scale, image.shape[2])
        if results.shape != expected or results.dtype != image.dtype:
            raise ShapeError(
                f"the network must return {image.dtype} of shape {expected}, "
                f"got {results.dtype} of shape {results.shape}"
            )
        return results

    if len(batches) == 1:
        yield from zip(batches[0], run(batches[0]), strict=True)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="restora-tiles") as worker:
        following: Future[Array] = worker.submit(run, batches[0])
        try:
            for index, tiles in enumerate(batches):
                results = following.result()
                if index + 1 < len(batches):
                    following = worker.submit(run, batches[index + 1])
                yield from zip(tiles, results, strict=True)
        finally:
            following.cancel()


def _iter_batches(rows: list[Span], cols: list[Span], batch: int) -> Iterator[list[Tile]]:
    tiles = (Tile(row, col) for row in rows for col in cols)
    for _, same_shape in groupby(tiles, key=lambda tile: tile.shape):
        group = list(same_shape)
        for start in range(0, len(group), batch):
            yield group[start : start + batch]
