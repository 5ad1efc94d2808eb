"""Pinned host memory for results: the GPU writes to the array that the caller gets."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.graphs import is_capturing
from restora.errors import HostMemoryError

logger = logging.getLogger(__name__)

Bytes = NDArray[np.uint8]
_SMALLEST_BLOCK = 64 << 10
_DEFAULT_BYTES = 2 << 30  # three results of 12 megapixels, enlarged four times
_SHARE = 8  # of the machine's memory, since pinned memory is never swapped


def default_limit() -> int:
    """The limit of pinned memory for results, in bytes: 2 GiB, or an eighth of the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(_DEFAULT_BYTES, memory // _SHARE)


class ResultPool:
    """Blocks of pinned memory that are handed out as arrays and come back when nobody uses them.

    limit_bytes: of all blocks, whether they are in use or idle

    An array and its views keep their block in use, also after the session is closed. Idle blocks
    stay allocated for the next results, because pinning takes longer than a copy. `take` and `free`
    need the device to be current; several threads may call them.
    """

    def __init__(self, device: Device, *, limit_bytes: int) -> None:
        self._device = device
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._idle: list[Bytes] = []  # the block that was used last is the last one
        # appended to by finalizers, which may run in any thread, even in one that holds the lock
        self._returned: deque[Bytes] = deque()
        self._allocated = 0
        self._failed = self._closed = False

    @property
    def allocated_bytes(self) -> int:
        return self._allocated

    def take(self, size: int) -> Bytes | None:
        """An array of `size` bytes; None if that would exceed the limit, or cannot be pinned."""
        with self._lock:
            self._collect()
            block = self._find_idle(size)
            if block is None:
                block = self._allocate(_block_size(size))
        if block is None:
            return None
        loan = _Loan(block, size)
        weakref.finalize(loan, self._give_back, block).atexit = False
        return np.asarray(loan)

    def free(self) -> None:
        """Free all idle blocks. The others are freed when their arrays are released."""
        with self._lock:
            self._closed = True
            self._collect()
            for block in self._idle:
                self._free(block)
            self._idle.clear()

    def _give_back(self, block: Bytes) -> None:
        self._returned.append(block)
        # in a capture nothing may be freed; the block is freed with the next one then
        if self._closed and not is_capturing():
            self._free_returned()

    def _free_returned(self) -> None:
        with self._device.current():
            while self._returned:
                try:
                    block = self._returned.popleft()
                except IndexError:  # another thread was faster
                    return
                self._free(block)

    def _collect(self) -> None:
        while self._returned:
            self._idle.append(self._returned.popleft())

    def _find_idle(self, size: int) -> Bytes | None:
        """The smallest idle block that fits and is not much too large."""
        fitting = [block for block in self._idle if size <= block.size <= 2 * _block_size(size)]
        if not fitting:
            return None
        found = min(fitting, key=lambda block: block.size)
        self._idle = [block for block in self._idle if block is not found]
        return found

    def _allocate(self, size: int) -> Bytes | None:
        while self._idle and self._allocated + size > self._limit:
            self._free(self._idle.pop(0))
        if self._closed or self._allocated + size > self._limit:
            return None
        try:
            with self._device.host_errors(f"pinning {size / 2**20:.0f} MiB for a result"):
                block: Bytes = self._device.cuda.pagelocked_empty(size, np.uint8)
        except HostMemoryError as error:
            if not self._failed:
                logger.warning("results are copied twice: %s", str(error))
            self._failed = True
            return None
        self._allocated += size
        return block

    def _free(self, block: Bytes) -> None:
        self._allocated -= block.size
        try:
            owner: Any = block.base
            owner.free()
        except self._device.cuda.Error as error:
            # memory of a lost GPU is only freed when the process ends
            logger.debug("a block of pinned memory was not freed: %s", str(error))


class _Loan:
    """What arrays in a block are based on: it lives until the last of them is released.

    A slice of the block cannot be watched, because NumPy bases views of a slice on the block.
    """

    def __init__(self, block: Bytes, size: int) -> None:
        self.__array_interface__ = {**block[:size].__array_interface__}


def _block_size(size: int) -> int:
    """Round up by at most a quarter, so that results of similar size share blocks."""
    step = max(_SMALLEST_BLOCK, 1 << max(0, size.bit_length() - 3))
    return -(-size // step) * step
