"""What one picture holds of the device while it is worked on, and the copies that feed it."""

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
    """Memory for one picture on its way through the device: source, canvas and what joins tiles.

    Not safe to use from several threads at once; use it while its device is current.
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
        # kept from picture to picture: PyCUDA frees an event only where its context is current
        self._events: list[Any] = []
        self._marks = 0

    def upload(self, array: NDArray[Any], into: DeviceBuffer, stream: Any) -> int:
        """Copy an array to the device, ordered on `stream`; returns its address."""
        array = np.ascontiguousarray(array)
        address = into.of_size(array.nbytes)
        self._up.upload(address, array, stream)
        return address

    def download(self, target: NDArray[Any], address: int, stream: Any) -> None:
        """Fill a C-contiguous array from the device; it is filled when this returns."""
        self._down.download(target, address, stream)

    def start(self) -> None:
        """Begin another picture: events of the last one may be used again."""
        self._marks = 0

    def mark(self, stream: Any) -> Any:
        """An event after all that is queued on `stream` now, good until the next picture."""
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
    """A fixed number of slots that threads borrow: while one picture is computed, another one is
    copied."""

    def __init__(self, device: Device, *, count: int = 2) -> None:
        self.count = count
        self._all = [Slot(device) for _ in range(count)]
        # the one used last comes first: the other one's memory is only made if both are needed
        self._free: LifoQueue[Slot] = LifoQueue()
        for slot in self._all:
            self._free.put(slot)

    @contextmanager
    def borrow(self) -> Iterator[Slot]:
        """Waits until one is free."""
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)

    @contextmanager
    def borrow_all(self) -> Iterator[list[Slot]]:
        """Waits until nobody uses any."""
        slots = [self._free.get() for _ in range(self.count)]
        try:
            yield slots
        finally:
            for slot in slots:
                self._free.put(slot)

    def free_idle_memory(self) -> None:
        """Free the memory of slots that nobody uses now."""
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
