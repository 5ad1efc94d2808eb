"""Run a network on a whole image, tile by tile."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from restora.errors import ShapeError
from restora.tiling.blend import Array, paste_span
from restora.tiling.plan import Tile, TilePlan, Tiling, plan_tiles

Network = Callable[[Array], Array]
Progress = Callable[[int, int], None]


def run_tiles(
    image: Array,
    network: Network,
    *,
    scale: int,
    tiling: Tiling,
    multiple: int = 1,
    progress: Progress | None = None,
    ahead: int = 1,
) -> Array:
    """Compute network(image) in tiles: (scale * height, scale * width, channels).

    image: (height, width, channels), uint8 or float32, sides multiples of `multiple`
    network: maps (batch, h, w, channels) to (batch, scale * h, scale * w, channels), same dtype
    progress: called with (finished output pixels, all output pixels)
    ahead: how many calls of `network` run in threads while a result is pasted

    Raises ShapeError if the network returns another shape or dtype.
    """
    height, width, channels = image.shape
    plan = plan_tiles(height, width, tiling, multiple=multiple, scale=scale)
    canvas = np.empty((height * scale, width * scale, channels), image.dtype)
    strip: Array = np.empty((0, width * scale, channels), image.dtype)
    done = 0
    for tile, result in _iter_results(image, network, plan, scale, tiling.batch, ahead):
        tile_height = tile.shape[0] * scale
        if len(strip) != tile_height:
            strip = np.empty((tile_height, width * scale, channels), image.dtype)
        paste_span(strip, result, tile.cols, axis=1, scale=scale, ramp=plan.col_ramp)
        if tile.cols.right == width:
            paste_span(canvas, strip, tile.rows, axis=0, scale=scale, ramp=plan.row_ramp)
        done += (tile.rows.right - tile.rows.left) * (tile.cols.right - tile.cols.left)
        if progress is not None:
            progress(done * scale**2, height * width * scale**2)
    return canvas


def _iter_results(
    image: Array, network: Network, plan: TilePlan, scale: int, batch: int, ahead: int
) -> Iterator[tuple[Tile, Array]]:
    """Yield each tile with its result, in order. The next batches run while one is pasted."""
    batches = list(_iter_batches(plan, batch))

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
    with ThreadPoolExecutor(ahead, thread_name_prefix="restora-tiles") as workers:
        left = iter(batches)
        running: deque[tuple[list[Tile], Future[Array]]] = deque()
        try:
            for tiles in islice(left, ahead):
                running.append((tiles, workers.submit(run, tiles)))
            while running:
                tiles, future = running.popleft()
                results = future.result()
                for following in islice(left, 1):
                    running.append((following, workers.submit(run, following)))
                yield from zip(tiles, results, strict=True)
        finally:
            for _, future in running:
                future.cancel()


def _iter_batches(plan: TilePlan, batch: int) -> Iterator[list[Tile]]:
    for tiles in plan.iter_runs():
        for start in range(0, len(tiles), batch):
            yield tiles[start : start + batch]
