"""The CUDA kernels of tile_kernels.py in NumPy, on the memory and streams of pycuda_double.

A launch runs when its stream does. Its grid must cover all values of all tiles.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

CHANNELS = 3


class Span(NamedTuple):
    """As in the source of the kernels."""

    source: int
    offset: int
    fade_begin: int
    copy_begin: int
    next_fade: int
    end: int


def rows_of(cuda: Any, address: int, pitch: int, rows: int, width: int) -> np.ndarray:
    """(rows, width) bytes of a pitched picture, a view."""
    flat = cuda.at(address, (rows - 1) * pitch + width)
    return np.lib.stride_tricks.as_strided(flat, (rows, width), (pitch, 1))


class _Kernel:
    """A function of the module, for one type of pixel."""

    name: str
    types: str

    def __init__(self, cuda: Any, pixel: np.dtype) -> None:
        self._cuda, self._pixel = cuda, pixel

    def prepare(self, types: str) -> None:
        assert types == self.types

    def prepared_async_call(self, grid: Any, block: Any, stream: Any, *arguments: Any) -> None:
        self._cuda.called(self.name)
        assert len(arguments) == len(self.types)
        assert all(type(value) is int for value in arguments)
        stream.enqueue(lambda: self.compute(grid, block, *arguments))

    def compute(self, grid: Any, block: Any, *arguments: Any) -> None:
        raise NotImplementedError

    def _array(self, address: int, *shape: int) -> np.ndarray:
        """Contiguous pixels at an address."""
        size = int(np.prod(shape)) * self._pixel.itemsize
        return self._cuda.at(address, size).view(self._pixel).reshape(shape)

    def _window(self, address: int, pitch: int, rows: int, columns: int) -> np.ndarray:
        """(rows, columns, 3) of a picture whose rows are `pitch` values apart."""
        item = self._pixel.itemsize
        raw = self._cuda.at(address, ((rows - 1) * pitch + columns * CHANNELS) * item)
        shape, strides = (rows, columns, CHANNELS), (pitch * item, CHANNELS * item, item)
        return np.lib.stride_tricks.as_strided(raw.view(self._pixel), shape, strides)

    def _span(self, table: int, index: int) -> Span:
        return Span(*self._cuda.at(table + 24 * index, 24).view(np.int32).tolist())


class Gather(_Kernel):
    name, types = "gather_tiles", "PPPPqiiii"

    def compute(self, grid: Any, block: Any, *arguments: Any) -> None:
        photo, batch, rows, cols, pitch, first, columns, tall, wide = arguments
        assert grid[1] == tall
        assert block[0] >= 1
        tiles = self._array(batch, grid[2], tall, wide, CHANNELS)
        for index in range(grid[2]):
            top = self._span(rows, (first + index) // columns).source
            left = self._span(cols, (first + index) % columns).source
            begin = photo + (top * pitch + left * CHANNELS) * self._pixel.itemsize
            tiles[index] = self._window(begin, pitch, tall, wide)


class Blend(_Kernel):
    name, types = "blend_tiles", "PPPPPPPPPPqiiiiii"

    def compute(self, grid: Any, block: Any, *arguments: Any) -> None:
        (results, batch_means, self.canvas, means, seam_in, seam_out, *tables) = arguments[:10]
        self.rows, self.cols, self.row_ramp, self.col_ramp = tables
        self.pitch, self.first, self.count, self.columns, tall, wide, self.seam = arguments[10:]
        assert grid[1:] == (tall, self.count)
        assert block[0] >= CHANNELS
        self.tiles = self._array(results, self.count, tall, wide, CHANNELS)
        self.seam_in = self._array(seam_in, tall, self.seam, CHANNELS) if self.seam else None
        item = 4 * CHANNELS
        self._cuda.at(means + self.first * item, self.count * item)[:] = self._cuda.at(
            batch_means, self.count * item
        )
        for index in range(self.count):
            self._place(index)
        column = self._span(self.cols, (self.first + self.count - 1) % self.columns)
        if column.end > column.next_fade:
            kept = slice(column.next_fade - column.offset, column.end - column.offset)
            out = self._array(seam_out, tall, self.seam, CHANNELS)
            out[:] = self.tiles[-1][:, kept]

    def _place(self, index: int) -> None:
        number, column = self.first + index, (self.first + index) % self.columns
        row, col = self._span(self.rows, number // self.columns), self._span(self.cols, column)
        bottom = row.next_fade if index + self.columns < self.count else row.end
        strip = self._along_row(index, row)[: bottom - row.fade_begin]
        begin = row.fade_begin * self.pitch + col.fade_begin * CHANNELS
        target = self._window(
            self.canvas + begin * self._pixel.itemsize,
            self.pitch,
            bottom - row.fade_begin,
            col.next_fade - col.fade_begin,
        )
        fading = row.copy_begin - row.fade_begin
        if fading:
            older = target[:fading]
            if index >= self.columns:
                above = self._span(self.rows, number // self.columns - 1)
                older = self._along_row(index - self.columns, above)[
                    row.fade_begin - above.fade_begin : row.copy_begin - above.fade_begin
                ]
            strip[:fading] = self._fade(older, strip[:fading], self.row_ramp, axis=0)
        target[:] = strip

    def _along_row(self, index: int, row: Span) -> np.ndarray:
        """The rows from row.fade_begin to row.end of a tile, faded into its left neighbor."""
        column = (self.first + index) % self.columns
        col = self._span(self.cols, column)
        rows = slice(row.fade_begin - row.offset, row.end - row.offset)
        tile = self.tiles[index][rows]
        strip = tile[:, col.fade_begin - col.offset : col.next_fade - col.offset].copy()
        fading = col.copy_begin - col.fade_begin
        if fading and index > 0:
            left = self._span(self.cols, column - 1).offset
            older = self.tiles[index - 1][rows, col.fade_begin - left : col.copy_begin - left]
        elif fading:
            assert self.seam_in is not None
            older = self.seam_in[rows]
        if fading:
            strip[:, :fading] = self._fade(older, strip[:, :fading], self.col_ramp, axis=1)
        return strip

    def _fade(self, older: np.ndarray, newer: np.ndarray, ramp: int, *, axis: int) -> np.ndarray:
        weights = self._cuda.at(ramp, 4 * newer.shape[axis]).view(np.float32)
        weights = weights.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        mixed = older + (newer.astype(np.float32) - older.astype(np.float32)) * weights
        return np.rint(mixed) if self._pixel == np.uint8 else mixed


KERNELS = {kernel.name: kernel for kernel in (Gather, Blend)}
