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
    """

    def __init__(self, device: Device) -> None:
        self.source = DeviceBuffer(device, "the photo")
        self.canvas = DeviceBuffer(device, "the result")
        self.strip = DeviceBuffer(device, "a row of tiles")
        self.means = DeviceBuffer(device, "the means of channels")
        self.ramps = DeviceBuffer(device, "the weights of seams")
        self._device = device
        self._up = PinnedRing(device)
        self._down = PinnedRing(device)
        # reused for all images, since PyCUDA frees an event only while its context is current
        self._events: list[Any] = []
        self._marks = 0

    def upload(self, array: NDArray[Any], into: DeviceBuffer, stream: Any) -> int:
        """Copy an array to the device, ordered on `stream`. Returns its address."""
        array = np.ascontiguousarray(array)
        address = into.of_size(array.nbytes)
        self._up.upload(address, array, stream)
        return address

    def download(self, target: NDArray[Any], address: int, stream: Any) -> None:
        """Copy device memory to a C-contiguous array, and wait for the copy."""
        self._down.download(target, address, stream)

    def start(self) -> None:
        """Start another image. Events of the previous one can be reused."""
        self._marks = 0

    def mark(self, stream: Any) -> Any:
        """Record an event on `stream`. It is valid until the next image."""
        if self._marks == len(self._events):
            cuda = self._device.cuda
            self._events.append(cuda.Event(cuda.event_flags.DISABLE_TIMING))
        event = self._events[self._marks]
        self._marks += 1
        event.record(stream)
        return event

    def free_memory(self) -> None:
        for buffer in (self.source, self.canvas, self.strip, self.means, self.ramps):
            buffer.free()

    def free(self) -> None:
        self.free_memory()
        self._events.clear()
        self._up.free()
        self._down.free()


class Slots:
    """A fixed number of slots that threads borrow, so that computation and copies overlap."""

    def __init__(self, device: Device, *, count: int = 2) -> None:
        self.count = count
        self._all = [Slot(device) for _ in range(count)]
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
