"""Split an image into tiles on the device, run them and blend the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from restora.backends.tensorrt.network import EngineRunner
from restora.backends.tensorrt.slot import Slot
from restora.backends.tensorrt.tile_kernels import TileKernels, TileTables
from restora.tiling import Tile, TilePlan, place_span

CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Plane:
    """An image in device memory. The pitch is the number of pixels from one row to the next."""

    address: int
    pitch: int


class TileRun:
    """Queues all work for one image on the stream of the network.

    source: the image in device memory, (height, width, 3)
    kernels: cut and blend the tiles; None uses strided copies, if the plan has no ramps

    Create it before the work of other images is queued; then upload `tables` to slot.tables. The
    result is written to slot.canvas, and the channel means of all tiles to slot.means.
    """

    def __init__(
        self,
        network: EngineRunner,
        slot: Slot,
        plan: TilePlan,
        *,
        source: Plane,
        kernels: TileKernels | None,
    ) -> None:
        assert kernels is not None or not len(plan.col_ramp) + len(plan.row_ramp)
        self._network, self._slot, self._plan = network, slot, plan
        self._kernels = kernels
        self._source = source
        self._scale = network.info.scale
        self._item = np.dtype(network.info.io).itemsize
        self.height = plan.rows[-1].right * self._scale
        self.width = plan.cols[-1].right * self._scale
        self.count = len(plan.rows) * len(plan.cols)
        self.canvas = Plane(slot.canvas.of_size(self.height * self.width * self._pixel), self.width)
        self._means = slot.means.of_size(self.count * CHANNELS * 4)
        tallest = max(span.stop - span.start for span in plan.rows) * self._scale
        self._seam_bytes = tallest * len(plan.col_ramp) * self._pixel
        self._seams = slot.seams.of_size(2 * self._seam_bytes)
        self._batches = 0

    @property
    def _pixel(self) -> int:
        return CHANNELS * self._item

    def enqueue(self, tables: int) -> Iterator[int]:
        """Queue all tiles. After each row of tiles, yields the number of final canvas rows.

        tables: device address of pack_tables(plan, scale); not used without kernels
        """
        at = TileTables.at(tables, self._plan)
        done = rows_done = 0
        for tiles in self._plan.iter_runs():
            height, width = tiles[0].shape
            for count in self._network.split_batch(len(tiles), height, width):
                numbers = range(done, done + count)
                if self._kernels is not None:
                    self._run(self._kernels, at, numbers, (height, width))
                else:
                    self._run_by_copies(tiles[:count], numbers, (height, width))
                    tiles = tiles[count:]
                done += count
                if done // len(self._plan.cols) > rows_done:
                    rows_done = done // len(self._plan.cols)
                    yield self._final_rows(rows_done)

    def _run(
        self, kernels: TileKernels, tables: TileTables, tiles: range, shape: tuple[int, int]
    ) -> None:
        height, width = shape
        columns, stream = len(self._plan.cols), self._network.stream
        batch = (len(tiles), height, width, CHANNELS)
        kernels.gather(
            stream,
            tables,
            photo=self._source.address,
            batch=self._network.input_for(batch),
            photo_width=self._source.pitch,
            tiles=tiles,
            columns=columns,
            shape=shape,
        )
        results = self._network.enqueue(batch)
        seams = (self._seams, self._seams + self._seam_bytes)
        kernels.blend(
            stream,
            tables,
            results=results,
            canvas=self.canvas.address,
            means=self._means,
            seams=seams if self._batches % 2 else seams[::-1],
            canvas_width=self.width,
            tiles=tiles,
            columns=columns,
            shape=(height * self._scale, width * self._scale),
            seam=len(self._plan.col_ramp),
        )
        self._batches += 1

    def _run_by_copies(self, tiles: Sequence[Tile], numbers: range, shape: tuple[int, int]) -> None:
        """Run a batch of tiles that are cut off at their seams, with one copy for each tile."""
        height, width = shape
        batch = (len(tiles), height, width, CHANNELS)
        target = Plane(self._network.input_for(batch), width)
        for index, tile in enumerate(tiles):
            part = self._at(self._source, tile.rows.start, tile.cols.start)
            self._copy(part, self._at(target, index * height, 0), height, width)
        restored, means = self._network.enqueue(batch)
        tall, wide = height * self._scale, width * self._scale
        for index, tile in enumerate(tiles):
            piece = Plane(restored + index * tall * wide * self._pixel, wide)
            down, across = (
                place_span(span, scale=self._scale, ramp_length=0)
                for span in (tile.rows, tile.cols)
            )
            self._copy(
                self._at(piece, down.copy_begin - down.offset, across.copy_begin - across.offset),
                self._at(self.canvas, down.copy_begin, across.copy_begin),
                down.end - down.copy_begin,
                across.end - across.copy_begin,
            )
        device, means_bytes = self._network.device, CHANNELS * 4
        with device.errors("copying on the GPU"):
            device.cuda.memcpy_dtod_async(
                self._means + numbers.start * means_bytes,
                means,
                len(numbers) * means_bytes,
                self._network.stream,
            )

    def _final_rows(self, rows_done: int) -> int:
        """Rows of the canvas that do not change any more after this many rows of tiles."""
        if rows_done == len(self._plan.rows):
            return self.height
        seam = self._plan.rows[rows_done].left * self._scale
        return seam - len(self._plan.row_ramp) // 2

    def _at(self, plane: Plane, row: int, column: int) -> Plane:
        return Plane(plane.address + (row * plane.pitch + column) * self._pixel, plane.pitch)

    def _copy(self, source: Plane, target: Plane, rows: int, columns: int) -> None:
        device = self._network.device
        copy = device.cuda.Memcpy2D()
        copy.set_src_device(source.address)
        copy.set_dst_device(target.address)
        copy.src_pitch, copy.dst_pitch = source.pitch * self._pixel, target.pitch * self._pixel
        copy.width_in_bytes, copy.height = columns * self._pixel, rows
        with device.errors("copying on the GPU"):
            copy(self._network.stream)
