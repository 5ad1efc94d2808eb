"""Device memory of one image in flight, and its copies to and from the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.memory import DeviceBuffer, PinnedRing


class Slot:
    """Device memory of one image: the source, the canvas and the buffers for blending.

    It is not thread-safe; use it while its device is current.

    to_device, to_host: streams for copies, of this slot alone: on a shared stream, the wait for the
        second image would stand before the copies of the first one
    blocking_waits: the host sleeps while it waits for the device, instead of spinning
    """

    def __init__(self, device: Device, *, blocking_waits: bool = False) -> None:
        self.source = DeviceBuffer(device, "the photo")
        self.canvas = DeviceBuffer(device, "the result")
        self.seams = DeviceBuffer(device, "the seams between batches")
        self.means = DeviceBuffer(device, "the means of channels")
        self.tables = DeviceBuffer(device, "the tables of tiles")
        self._device = device
        self._blocking = blocking_waits
        self.to_device, self.to_host = device.make_stream(), device.make_stream()
        self._up = PinnedRing(device, blocking_waits=blocking_waits)
        self._down = PinnedRing(device, blocking_waits=blocking_waits)
        # reused for all images, since PyCUDA frees an event only while its context is current
        self._events: list[Any] = []
        self._marks = 0

    def upload(self, array: NDArray[Any], into: DeviceBuffer) -> int:
        """Copy an array to the device, ordered on `to_device`. Returns its address."""
        array = np.ascontiguousarray(array)
        address = into.of_size(array.nbytes)
        self._up.upload(address, array, self.to_device)
        return address

    def download(self, target: NDArray[Any], address: int) -> None:
        """Copy device memory to a C-contiguous array on `to_host`, and wait for the copy."""
        self._down.download(target, address, self.to_host)

    def download_pinned(self, target: NDArray[Any], address: int) -> Any:
        """Queue a copy to a pinned, C-contiguous array. Returns the event of its end."""
        self._device.cuda.memcpy_dtoh_async(target, address, self.to_host)
        return self.mark(self.to_host)

    def start(self) -> None:
        """Start another image. Events of the previous one can be reused."""
        self._marks = 0

    def mark(self, stream: Any) -> Any:
        """Record an event on `stream`. It is valid until the next image."""
        if self._marks == len(self._events):
            self._events.append(self._device.make_event(blocking=self._blocking))
        event = self._events[self._marks]
        self._marks += 1
        event.record(stream)
        return event

    def free_memory(self) -> None:
        for buffer in (self.source, self.canvas, self.seams, self.means, self.tables):
            buffer.free()

    def free(self) -> None:
        self.free_memory()
        self._up.free()
        self._down.free()
        # PyCUDA frees these with their last reference, while their context is current
        self._events.clear()
        del self.to_device, self.to_host


class Slots:
    """A fixed number of slots that threads borrow, so that computation and copies overlap."""

    def __init__(self, device: Device, *, count: int = 2, blocking_waits: bool = False) -> None:
        self.count = count
        self._all = [Slot(device, blocking_waits=blocking_waits) for _ in range(count)]
        # last in, first out: memory of the other slots is only allocated if they are needed
        self._free: LifoQueue[Slot] = LifoQueue()
        for slot in self._all:
            self._free.put(slot)

    @contextmanager
    def borrow(self) -> Iterator[Slot]:
        """Borrow a slot, and wait until one is free."""
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)

    @contextmanager
    def borrow_all(self) -> Iterator[list[Slot]]:
        """Borrow all slots, and wait until all are free."""
        slots = [self._free.get() for _ in range(self.count)]
        try:
            yield slots
        finally:
            for slot in slots:
                self._free.put(slot)

    def free_idle_memory(self) -> None:
        """Free the memory of all slots that are not borrowed."""
        idle = []
        try:
            while True:
                idle.append(self._free.get_nowait())
        except Empty:
            pass
        for slot in idle:
            slot.free_memory()
            self._free.put(slot)

    def free(self) -> None:
        for slot in self._all:
            slot.free()
