"""What the CUDA kernels do, in NumPy, on the memory and streams of pycuda_double."""

from __future__ import annotations

from typing import Any

import numpy as np


def rows_of(cuda: Any, address: int, pitch: int, rows: int, width: int) -> np.ndarray:
    """(rows, width) bytes of a pitched picture, a view."""
    flat = cuda.at(address, (rows - 1) * pitch + width)
    return np.lib.stride_tricks.as_strided(flat, (rows, width), (pitch, 1))


class _Fade:
    """What the kernel does, in NumPy."""

    def __init__(self, cuda: Any, pixel: np.dtype) -> None:
        self._cuda, self._pixel = cuda, pixel

    def prepare(self, types: str) -> None:
        assert types == "PPPqqiiii"

    def prepared_async_call(self, grid: Any, block: Any, stream: Any, *arguments: Any) -> None:
        self._cuda.called("fade_in")
        canvas, piece, ramp, canvas_pitch, piece_pitch, rows, columns, channels, by_row = arguments
        wide, item = columns * channels, self._pixel.itemsize
        assert grid[0] * block[0] >= wide
        assert grid[1] * block[1] >= rows

        def view(address: int, pitch: int) -> np.ndarray:
            raw = rows_of(self._cuda, address, pitch * item, rows, wide * item)
            shape, strides = (rows, columns, channels), (pitch * item, channels * item, item)
            flat = self._cuda.at(address, ((rows - 1) * pitch + wide) * item)
            assert raw.base is not None
            return np.lib.stride_tricks.as_strided(flat.view(self._pixel), shape, strides)

        def fade() -> None:
            length = rows if by_row else columns
            weights = self._cuda.at(ramp, 4 * length).view(np.float32)
            weights = weights.reshape((-1, 1, 1) if by_row else (1, -1, 1))
            target = view(canvas, canvas_pitch)
            older = target.astype(np.float32)
            newer = view(piece, piece_pitch).astype(np.float32)
            mixed = older + (newer - older) * weights
            target[:] = np.rint(mixed) if self._pixel == np.uint8 else mixed

        stream.enqueue(fade)


KERNELS = {"fade_in": _Fade}
