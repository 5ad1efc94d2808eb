"""Device memory that grows on demand, and pinned host memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.backends.tensorrt.cuda import Device

Bytes = NDArray[np.uint8]


class DeviceBuffer:
    """Device memory that grows but never shrinks. Use it while its device is current."""

    def __init__(self, device: Device, purpose: str) -> None:
        self._device = device
        self._purpose = purpose
        self._memory: Any = None
        self.size = 0

    @property
    def address(self) -> int:
        return int(self._memory)

    def of_size(self, size: int) -> int:
        """Return the address of at least `size` bytes.

        If the buffer grows, its contents are lost, and the device must not be using it. Raises
        DeviceMemoryError.
        """
        size = max(1, size)
        if size > self.size:
            self.free()
            with self._device.errors(f"allocating {size / 2**20:.0f} MiB for {self._purpose}"):
                self._memory = self._device.cuda.mem_alloc(size)
            self.size = size
        return int(self._memory)

    def free(self) -> None:
        if self._memory is not None:
            self._memory.free()
        self._memory, self.size = None, 0


class PinnedRing:
    """A ring of pinned host memory blocks for copies to and from the device.

    The host fills or empties one block while the device copies another. It is not thread-safe; use
    it while its device is current.

    blocking_waits: the host sleeps while it waits for a copy, instead of spinning
    """

    def __init__(
        self,
        device: Device,
        *,
        blocks: int = 4,
        block_bytes: int = 4 << 20,
        blocking_waits: bool = False,
    ) -> None:
        cuda = device.cuda
        self._device = device
        with device.host_errors(f"pinning {blocks * block_bytes >> 20} MiB of host memory"):
            self._blocks: list[Bytes] = [
                cuda.pagelocked_empty(block_bytes, np.uint8) for _ in range(blocks)
            ]
            self._events = [device.make_event(blocking=blocking_waits) for _ in range(blocks)]
        self._block_bytes = block_bytes
        self._next = 0

    def upload(self, target: int, source: NDArray[Any], stream: Any) -> None:
        """Copy a C-contiguous array to device memory, ordered on `stream`.

        The array may change as soon as this method returns.
        """
        flat = source.reshape(-1).view(np.uint8)
        for start in range(0, flat.size, self._block_bytes):
            part = flat[start : start + self._block_bytes]
            block, event = self._take()
            event.synchronize()
            block[: part.size] = part
            self._device.cuda.memcpy_htod_async(target + start, block[: part.size], stream)
            event.record(stream)

    def download(self, target: NDArray[Any], source: int, stream: Any) -> None:
        """Copy device memory to a C-contiguous array, and wait for the copy."""
        flat = target.reshape(-1).view(np.uint8)
        assert np.shares_memory(flat, target)
        waiting: list[tuple[Bytes, Any, Bytes]] = []
        for start in range(0, flat.size, self._block_bytes):
            part = flat[start : start + self._block_bytes]
            if len(waiting) == len(self._blocks):
                _empty(waiting.pop(0))
            block, event = self._take()
            event.synchronize()
            self._device.cuda.memcpy_dtoh_async(block[: part.size], source + start, stream)
            event.record(stream)
            waiting.append((part, event, block))
        for copy in waiting:
            _empty(copy)

    def free(self) -> None:
        for block in self._blocks:
            block.base.free()  # type: ignore[union-attr]
        self._blocks.clear()
        self._events.clear()

    def _take(self) -> tuple[Bytes, Any]:
        index = self._next
        self._next = (index + 1) % len(self._blocks)
        return self._blocks[index], self._events[index]


def _empty(copy: tuple[Bytes, Any, Bytes]) -> None:
    part, event, block = copy
    event.synchronize()
    part[:] = block[: part.size]
