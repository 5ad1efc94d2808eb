"""A stand-in for pycuda.driver: device memory is host memory, and streams really are asynchronous.

What is queued on a stream runs as late as it may: when somebody waits for it. Work that is not
ordered by a stream or an event therefore gives a wrong picture here, and so does pinned memory
that is used again too early. An address that was not allocated, or was freed, is an illegal
access, after which every call fails, as on a GPU.

Messages are those of PyCUDA: the call, and the text of cuGetErrorString. While a stream is
captured, its thread may not allocate, free or wait, and while a stream is captured that is not
"non-blocking", no thread may use the legacy default stream.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from kernel_double import KERNELS, rows_of

ILLEGAL_ACCESS = "an illegal memory access was encountered"
CAPTURING = "operation not permitted when stream is capturing"
IMPLICIT = "operation would make the legacy stream depend on a capturing blocking stream"
_GAP = 4096
_FIRST = 1 << 20
_UNSAFE = {"mem_alloc", "free", "pagelocked_empty", "free_host", "module_from_buffer"}


class FakeCuda:
    """The module. `live` counts what was allocated and not freed, `calls` what was called.

    fail_at     which call fails (counted from 0), with `fail_with`
    eager       everything runs at once
    gpus        how many there are, each with a name of its own
    integrated  whether they share their memory with the CPU
    """

    class Error(Exception):
        """Any error of the driver."""

    class MemoryError(Error):  # noqa: A001
        """No device memory left."""

    class LogicError(Error):
        """Most errors, those of a lost context among them."""

    class LaunchError(Error):
        """A kernel failed or timed out."""

    def __init__(self, *, memory_bytes: int = 1 << 30, eager: bool = False, gpus: int = 1) -> None:
        self.gpus = gpus
        self.integrated = False
        self.memory: dict[int, np.ndarray] = {}
        self.memory_bytes = memory_bytes
        self.eager = eager
        self.calls: list[str] = []
        self.fail_at: int | None = None
        self.fail_with: Exception = self.LogicError(ILLEGAL_ACCESS)
        self.lost = False
        self.downloaded_bytes = 0
        self.pinned_blocks: dict[int, int] = {}  # size by address
        self.streams: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()
        self.handles = 7
        self.objects = 0  # streams and events
        self.graphs = 0
        self.start_error: str | None = None
        self.lock = threading.RLock()
        self._thread = threading.local()
        self._next = _FIRST
        self.Device = _make_device(self)
        self.Context = SimpleNamespace(pop=self._pop)
        self.device_attribute = SimpleNamespace(
            MULTIPROCESSOR_COUNT="multiprocessors", INTEGRATED="integrated"
        )
        self.event_flags = SimpleNamespace(BLOCKING_SYNC=1, DISABLE_TIMING=2)
        self.retained = 0

    @property
    def pinned(self) -> int:
        """How many blocks of pinned host memory there are."""
        return len(self.pinned_blocks)

    @property
    def pinned_bytes(self) -> int:
        return sum(self.pinned_blocks.values())

    def is_pinned(self, array: np.ndarray) -> bool:
        """Whether the array lies in a block of pinned memory that was not freed."""
        begin = array.ctypes.data
        return any(
            at <= begin and begin + array.nbytes <= at + size
            for at, size in list(self.pinned_blocks.items())
        )

    @property
    def live(self) -> int:
        """Device allocations, pinned blocks, graphs, streams and events that nobody freed."""
        return len(self.memory) + self.pinned + self.graphs + self.objects

    @property
    def pushed(self) -> int:
        return len(self._stack)

    @property
    def current(self) -> int | None:
        """The number of the GPU whose context is current in this thread."""
        return self._stack[-1] if self._stack else None

    @property
    def _stack(self) -> list[int]:
        if not hasattr(self._thread, "stack"):
            self._thread.stack = []
        stack: list[int] = self._thread.stack
        return stack

    def called(self, name: str, *, current: bool = True) -> None:
        """Note one call of the driver, and fail if it is time to."""
        if current:
            assert self.pushed, f"{name}: no context is current in this thread"
        number = len(self.calls)
        self.calls.append(name)
        if self.lost:
            raise self.LogicError(f"{name} failed: {ILLEGAL_ACCESS}")
        if number == self.fail_at:
            self.lost = ILLEGAL_ACCESS in str(self.fail_with)
            raise type(self.fail_with)(f"{name} failed: {self.fail_with}")
        if name in _UNSAFE:
            self.refuse_in_capture(name)

    def refuse_in_capture(self, name: str) -> None:
        """Fail, as the driver does, if this thread captures a stream; that ends the capture."""
        for stream in list(self.streams.values()):
            if stream.recording is not None and stream.recorder == threading.get_ident():
                stream.capture_broken = True
                raise self.LogicError(f"{name} failed: {CAPTURING}")

    def use_legacy_stream(self, name: str) -> None:
        """A synchronous copy, or whatever else uses the default stream, of any thread."""
        for stream in list(self.streams.values()):
            if stream.recording is not None and stream.blocking:
                stream.capture_broken = True
                raise self.LogicError(f"{name} failed: {IMPLICIT}")

    def init(self) -> None:
        if self.start_error is not None:
            raise self.LogicError(f"cuInit failed: {self.start_error}")

    def get_version(self) -> tuple[int, int, int]:
        return 12, 4, 0

    def get_driver_version(self) -> int:
        return 13000

    def Stream(self, flags: int = 0) -> Stream:  # noqa: N802
        self.called("Stream")
        stream = Stream(self, self.handles, blocking=not flags & 1)
        self.handles += 1
        self.streams[stream.handle] = stream
        return stream

    def Event(self, flags: int = 0) -> Event:  # noqa: N802
        self.called("Event")
        return Event(self, flags)

    def Memcpy2D(self) -> Memcpy2D:  # noqa: N802
        return Memcpy2D(self)

    def mem_alloc(self, size: int) -> Any:
        self.called("mem_alloc")
        used = sum(memory.nbytes for memory in self.memory.values())
        if used + size > self.memory_bytes:
            raise self.MemoryError("cuMemAlloc failed: out of memory")
        address = self._next
        self._next += (size + 2 * _GAP) // _GAP * _GAP
        # not zeros: who reads what was never written sees it
        self.memory[address] = np.full(size, 0xA5, np.uint8)
        return _Allocation(self, address)

    def mem_get_info(self) -> tuple[int, int]:
        used = sum(memory.nbytes for memory in self.memory.values())
        return self.memory_bytes - used, self.memory_bytes

    def pagelocked_empty(self, shape: int, dtype: type) -> np.ndarray:
        self.called("pagelocked_empty")
        return np.asarray(_Pinned(self, shape, np.dtype(dtype)))

    def module_from_buffer(self, binary: bytes) -> Any:
        self.called("module_from_buffer")
        assert binary.startswith(b"CUBIN")
        pixel = np.uint8 if b"PIXEL unsigned char" in binary else np.float32
        return SimpleNamespace(get_function=lambda name: KERNELS[name](self, np.dtype(pixel)))

    def memcpy_htod_async(self, address: int, source: np.ndarray, stream: Stream) -> None:
        self.called("memcpy_htod_async")
        flat = source.reshape(-1).view(np.uint8)
        if not self.is_pinned(source):
            flat = flat.copy()  # the driver stages pageable memory before it returns
        size = flat.size

        def copy() -> None:
            self.at(address, size)[:] = flat

        stream.enqueue(copy)

    def memcpy_dtoh_async(self, target: np.ndarray, address: int, stream: Stream) -> None:
        self.called("memcpy_dtoh_async")
        flat = target.reshape(-1).view(np.uint8)

        pinned = self.is_pinned(target)

        def copy() -> None:
            assert self.is_pinned(target) == pinned, "pinned memory was freed before its copy"
            flat[:] = self.at(address, flat.size)
            self.downloaded_bytes += flat.size

        stream.enqueue(copy)
        if not pinned:
            stream.run()

    def memcpy_dtod_async(self, target: int, source: int, size: int, stream: Stream) -> None:
        self.called("memcpy_dtod_async")

        def copy() -> None:
            self.at(target, size)[:] = self.at(source, size)

        stream.enqueue(copy)

    def at(self, address: int, size: int) -> np.ndarray:
        """The bytes at an address; raises, as the GPU does, unless all of them are allocated."""
        starts = sorted(self.memory)
        index = bisect_right(starts, address) - 1
        if index >= 0:
            begin = address - starts[index]
            block = self.memory[starts[index]]
            if begin + size <= block.size:
                return block[begin : begin + size]
        self.lost = True
        raise self.LogicError(f"{ILLEGAL_ACCESS} at {address:#x}, {size} bytes")

    def push(self, gpu: int = 0) -> None:
        self._stack.append(gpu)

    def _pop(self) -> None:
        self._stack.pop()


class Owned:
    """What PyCUDA frees when nothing names it any more, if its context is current in the thread
    that does so; else it is never freed."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        cuda.objects += 1

    def __del__(self) -> None:
        if self._cuda.pushed or self._cuda.lost:
            self._cuda.objects -= 1


class Stream(Owned):
    """Work in order, done when somebody waits for it."""

    def __init__(self, cuda: FakeCuda, handle: int, *, blocking: bool) -> None:
        super().__init__(cuda)
        self.handle = handle
        self.blocking = blocking
        self.queue: deque[Callable[[], None]] = deque()
        self.queued = self.done = 0
        self.recording: list[Callable[[], None]] | None = None
        self.recorder = 0  # the thread that captures
        self.capture_broken = False

    def enqueue(self, work: Callable[[], None]) -> None:
        with self._cuda.lock:
            if self.recording is not None:
                self.recording.append(work)
                return
            self.queue.append(work)
            self.queued += 1
            if self._cuda.eager:
                self.run()

    def run(self, until: int | None = None) -> None:
        """Do what is queued, up to a position."""
        with self._cuda.lock:
            end = self.queued if until is None else until
            while self.done < end:
                self.done += 1
                self.queue.popleft()()

    def synchronize(self) -> None:
        self._cuda.called("Stream.synchronize")
        if self.recording is not None:
            self.capture_broken = True
            raise self._cuda.LogicError(f"cuStreamSynchronize failed: {CAPTURING}")
        self.run()

    def wait_for_event(self, event: Event) -> None:
        self._cuda.called("Stream.wait_for_event")
        stream, position = event.stream, event.position
        if stream is not None and stream is not self:
            self.enqueue(lambda: stream.run(position))


class Event(Owned):
    def __init__(self, cuda: FakeCuda, flags: int) -> None:
        super().__init__(cuda)
        self.flags = flags
        self.stream: Stream | None = None
        self.position = 0

    def record(self, stream: Stream) -> None:
        self._cuda.called("Event.record")
        self.stream, self.position = stream, stream.queued

    def synchronize(self) -> None:
        self._cuda.called("Event.synchronize")
        if self.stream is not None:
            self.stream.run(self.position)

    def time_till(self, later: Event) -> float:
        return 1.0


class Memcpy2D:
    """A copy between pitched pictures on the device."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.src_pitch = self.dst_pitch = self.width_in_bytes = self.height = 0

    def set_src_device(self, address: int) -> None:
        self._source = address

    def set_dst_device(self, address: int) -> None:
        self._target = address

    def __call__(self, stream: Stream) -> None:
        self._cuda.called("Memcpy2D")
        assert self.width_in_bytes <= min(self.src_pitch, self.dst_pitch)
        source = (self._source, self.src_pitch)
        target = (self._target, self.dst_pitch)
        rows, width = self.height, self.width_in_bytes

        def copy() -> None:
            rows_of(self._cuda, *target, rows, width)[:] = rows_of(self._cuda, *source, rows, width)

        stream.enqueue(copy)


class _Pinned:
    def __init__(self, cuda: FakeCuda, size: int, dtype: np.dtype) -> None:
        self._cuda = cuda
        self._array = np.empty(size, dtype)
        self._array[:65536] = 0x5A  # the rest is not touched, so that it costs no memory
        self.__array_interface__ = self._array.__array_interface__
        self.address = self._array.ctypes.data
        cuda.pinned_blocks[self.address] = self._array.nbytes

    def free(self) -> None:
        self._cuda.called("free_host")
        self._array[:65536] = 0xDD  # who still reads it sees it
        del self._cuda.pinned_blocks[self.address]


class _Allocation:
    def __init__(self, cuda: FakeCuda, address: int) -> None:
        self._cuda, self._address = cuda, address

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        # not waiting for what is queued: that must not use it any more
        self._cuda.called("free")
        del self._cuda.memory[self._address]


def _make_device(cuda: FakeCuda) -> Any:
    owner = weakref.proxy(cuda)  # contexts are kept for as long as their module is

    class Context:
        """A primary context. PyCUDA's detach() releases it only in the thread that retained it,
        where it leaves the context current."""

        def __init__(self, gpu: int) -> None:
            self.gpu = gpu
            self._thread = threading.get_ident()

        def push(self) -> None:
            owner.push(self.gpu)

        def detach(self) -> None:
            if threading.get_ident() == self._thread:
                owner.push(self.gpu)
                owner.retained -= 1

    class Device:
        def __init__(self, index: int) -> None:
            self.index = index

        @staticmethod
        def count() -> int:
            return int(owner.gpus)

        def retain_primary_context(self) -> Context:
            owner.retained += 1
            return Context(self.index)

        def name(self) -> str:
            return f"NVIDIA Double {self.index}" if self.index else "NVIDIA Double"

        def pci_bus_id(self) -> str:
            return f"0000:{11 + self.index:02X}:00.0"

        def compute_capability(self) -> tuple[int, int]:
            return 9, 0

        def get_attribute(self, attribute: str) -> int:
            return {"multiprocessors": 132, "integrated": int(owner.integrated)}[attribute]

        def total_memory(self) -> int:
            return int(owner.memory_bytes)

    return Device
