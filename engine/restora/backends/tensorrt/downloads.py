"""Copy results from the device to the arrays that the caller gets."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from restora.backends.base import Batch
from restora.backends.tensorrt.results import ResultPool
from restora.backends.tensorrt.slot import Slot
from restora.tiling import Progress

CHANNELS = 3


class Downloads:
    """Downloads of one session, whose threads share the pool.

    dtype: of the results

    Both methods queue copies on slot.to_host and return the array. Its contents are complete after
    the next download of `slot` that waits. pinned, copied: how many results the GPU wrote to the
    array itself, and how many were copied once more.
    """

    def __init__(self, pool: ResultPool, dtype: np.dtype[Any]) -> None:
        self._pool, self._dtype = pool, dtype
        self._counting = threading.Lock()
        self.pinned = self.copied = 0

    def whole(self, slot: Slot, shape: tuple[int, ...], *, finished: Any) -> Batch:
        """Download slot.canvas after the event `finished`."""
        result, pinned = self._make_array(shape)
        slot.to_host.wait_for_event(finished)
        if pinned:
            slot.download_pinned(result, slot.canvas.address)
        else:
            slot.download(result, slot.canvas.address)
        return result

    def in_bands(
        self,
        slot: Slot,
        shape: tuple[int, int],
        bands: Sequence[tuple[int, Any]],
        progress: Progress | None,
    ) -> Batch:
        """Download slot.canvas band by band, each as soon as it is final.

        shape: height and width of the canvas
        bands: the rows that are final after an event; the last ones are all
        progress: called with (pixels that have arrived, all pixels)
        """
        height, width = shape
        result, pinned = self._make_array((height, width, CHANNELS))
        row_bytes = width * CHANNELS * self._dtype.itemsize
        copies: list[tuple[int, Any]] = []
        done = 0
        for rows, final in bands:
            slot.to_host.wait_for_event(final)
            band, address = result[done:rows], slot.canvas.address + done * row_bytes
            if pinned:
                copies.append((rows, slot.download_pinned(band, address)))
            else:
                slot.download(band, address)
                if progress is not None:
                    progress(rows * width, height * width)
            done = rows
        if progress is not None:
            for rows, copied in copies:
                copied.synchronize()
                progress(rows * width, height * width)
        return result

    def _make_array(self, shape: tuple[int, ...]) -> tuple[Batch, bool]:
        """An array for a result, and whether the GPU can write to it."""
        block = self._pool.take(math.prod(shape) * self._dtype.itemsize)
        with self._counting:
            self.pinned += block is not None
            self.copied += block is None
        if block is None:
            return np.empty(shape, self._dtype), False
        return block.view(self._dtype).reshape(shape), True
