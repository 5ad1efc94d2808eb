"""Split an image into tiles on the device, run them and blend the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from restora.backends.tensorrt.blend_kernel import BlendKernel
from restora.backends.tensorrt.network import EngineRunner
from restora.backends.tensorrt.slot import Slot
from restora.tiling import Span, Tile, TilePlan, place_span

CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Plane:
    """An image in device memory. The pitch is the number of pixels from one row to the next."""

    address: int
    pitch: int


class TileRun:
    """Queues all work for one image on the stream of the network.

    source: the image in device memory, (height, width, 3)
    ramps: address of the weights of plan.col_ramp, followed by those of plan.row_ramp
    blend_kernel: blends the tiles; None if the plan has no ramps

    The result is written to slot.canvas, and the channel means of all tiles to slot.means.
    """

    def __init__(
        self,
        network: EngineRunner,
        slot: Slot,
        plan: TilePlan,
        *,
        source: Plane,
        ramps: int,
        blend_kernel: BlendKernel | None,
    ) -> None:
        self._network, self._slot, self._plan = network, slot, plan
        self._cuda = network.device.cuda
        self._blend_kernel = blend_kernel
        self._source = source
        self._scale = network.info.scale
        self._item = np.dtype(network.info.io).itemsize
        self.height = plan.rows[-1].right * self._scale
        self.width = plan.cols[-1].right * self._scale
        self.count = len(plan.rows) * len(plan.cols)
        self._col_ramp, self._row_ramp = ramps, ramps + 4 * len(plan.col_ramp)
        self._done = 0
        tallest = max(span.stop - span.start for span in plan.rows) * self._scale
        size = CHANNELS * self._item * self.width
        self.canvas = Plane(slot.canvas.of_size(self.height * size), self.width)
        self._strip = Plane(slot.strip.of_size(tallest * size), self.width)
        self._means = slot.means.of_size(self.count * CHANNELS * 4)

    def enqueue(self) -> Iterator[int]:
        """Queue all tiles. After each row of tiles, yields the number of final canvas rows."""
        for tiles in self._plan.iter_runs():
            height, width = tiles[0].shape
            start = 0
            for count in self._network.split_batch(len(tiles), height, width):
                yield from self._run(tiles[start : start + count])
                start += count

    def _run(self, tiles: Sequence[Tile]) -> Iterator[int]:
        height, width = tiles[0].shape
        shape = (len(tiles), height, width, CHANNELS)
        target = self._network.input_for(shape)
        tile_bytes = height * width * CHANNELS * self._item
        for index, tile in enumerate(tiles):
            part = self._at(self._source, tile.rows.start, tile.cols.start)
            self._copy(part, Plane(target + index * tile_bytes, width), height, width)
        restored, means = self._network.enqueue(shape)
        stream = self._network.stream
        tall, wide = height * self._scale, width * self._scale
        for index, tile in enumerate(tiles):
            piece = Plane(restored + index * tall * wide * CHANNELS * self._item, wide)
            self._paste_column(piece, tile.cols, tall)
            if tile.cols.right * self._scale == self.width:
                yield self._paste_row(tile.rows)
        means_bytes = len(tiles) * CHANNELS * 4
        with self._network.device.errors("copying on the GPU"):
            self._cuda.memcpy_dtod_async(
                self._means + self._done * CHANNELS * 4, means, means_bytes, stream
            )
        self._done += len(tiles)

    def _paste_column(self, piece: Plane, span: Span, rows: int) -> None:
        """Blend a tile into the strip of its row."""
        patch = place_span(span, scale=self._scale, ramp_length=len(self._plan.col_ramp))
        fading = patch.copy_begin - patch.fade_begin
        if fading:
            self._fade_in(
                self._at(self._strip, 0, patch.fade_begin),
                self._at(piece, 0, patch.fade_begin - patch.offset),
                self._col_ramp,
                rows,
                fading,
                along_rows=False,
            )
        self._copy(
            self._at(piece, 0, patch.copy_begin - patch.offset),
            self._at(self._strip, 0, patch.copy_begin),
            rows,
            patch.end - patch.copy_begin,
        )

    def _paste_row(self, span: Span) -> int:
        """Blend the strip into the canvas. Returns the number of final canvas rows."""
        patch = place_span(span, scale=self._scale, ramp_length=len(self._plan.row_ramp))
        fading = patch.copy_begin - patch.fade_begin
        if fading:
            self._fade_in(
                self._at(self.canvas, patch.fade_begin, 0),
                self._at(self._strip, patch.fade_begin - patch.offset, 0),
                self._row_ramp,
                fading,
                self.width,
                along_rows=True,
            )
        self._copy(
            self._at(self._strip, patch.copy_begin - patch.offset, 0),
            self._at(self.canvas, patch.copy_begin, 0),
            patch.end - patch.copy_begin,
            self.width,
        )
        if span is self._plan.rows[-1]:
            return self.height
        return span.right * self._scale - len(self._plan.row_ramp) // 2

    def _fade_in(
        self, canvas: Plane, piece: Plane, ramp: int, rows: int, columns: int, *, along_rows: bool
    ) -> None:
        assert self._blend_kernel is not None
        self._blend_kernel.launch(
            self._network.stream,
            canvas=canvas.address,
            piece=piece.address,
            ramp=ramp,
            canvas_pitch=canvas.pitch,
            piece_pitch=piece.pitch,
            rows=rows,
            columns=columns,
            along_rows=along_rows,
        )

    def _at(self, plane: Plane, row: int, column: int) -> Plane:
        pixel = CHANNELS * self._item
        return Plane(plane.address + (row * plane.pitch + column) * pixel, plane.pitch)

    def _copy(self, source: Plane, target: Plane, rows: int, columns: int) -> None:
        pixel = CHANNELS * self._item
        copy = self._cuda.Memcpy2D()
        copy.set_src_device(source.address)
        copy.set_dst_device(target.address)
        copy.src_pitch, copy.dst_pitch = source.pitch * pixel, target.pitch * pixel
        copy.width_in_bytes, copy.height = columns * pixel, rows
        with self._network.device.errors("copying on the GPU"):
            copy(self._network.stream)
