"""A stand-in for pycuda.driver: device memory is host memory, streams run at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np


class FakeCuda:
    """The module. `live` counts what was allocated and not freed, `calls` what was called."""

    class Error(Exception):
        """Any error of the driver."""

    class MemoryError(Error):  # noqa: A001
        """No device memory left."""

    def __init__(self, *, memory_bytes: int = 1 << 30) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.memory_bytes = memory_bytes
        self.calls: list[str] = []
        self.pushed = 0
        self._next = 4096
        self.fail_copies = False
        self.Device = self._make_device()
        self.Context = SimpleNamespace(pop=self._pop)
        self.device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT="multiprocessors")

    @property
    def live(self) -> int:
        return len(self.memory)

    def init(self) -> None:
        pass

    def get_version(self) -> tuple[int, int, int]:
        return 12, 4, 0

    def get_driver_version(self) -> int:
        return 13000

    def Stream(self) -> Any:  # noqa: N802
        return SimpleNamespace(handle=77, synchronize=lambda: self.calls.append("synchronize"))

    def mem_alloc(self, size: int) -> Any:
        assert self.pushed, "no context is current"
        used = sum(memory.nbytes for memory in self.memory.values())
        if used + size > self.memory_bytes:
            raise self.MemoryError("cuMemAlloc failed: out of memory")
        address = self._next
        self._next += size + 4096
        self.memory[address] = np.zeros(size, np.uint8)
        return _Allocation(self, address)

    def memcpy_htod_async(self, address: int, source: np.ndarray, stream: Any) -> None:
        if self.fail_copies:
            raise self.Error("cuMemcpyHtoDAsync failed: an illegal memory access was encountered")
        assert stream.handle
        data = source.view(np.uint8).ravel()
        self.memory[address][: len(data)] = data

    def memcpy_dtoh_async(self, target: np.ndarray, address: int, stream: Any) -> None:
        assert stream.handle
        flat = target.view(np.uint8).reshape(-1)
        flat[:] = self.memory[address][: flat.size]

    def _pop(self) -> None:
        assert self.pushed > 0
        self.pushed -= 1

    def _make_device(self) -> Any:
        cuda = self

        class Context:
            def push(self) -> None:
                cuda.pushed += 1

            def detach(self) -> None:
                cuda.calls.append("detach")

        class Device:
            def __init__(self, index: int) -> None:
                self.index = index

            @staticmethod
            def count() -> int:
                return 1

            def retain_primary_context(self) -> Context:
                cuda.calls.append("retain_primary_context")
                return Context()

            def name(self) -> str:
                return "NVIDIA Double"

            def compute_capability(self) -> tuple[int, int]:
                return 9, 0

            def get_attribute(self, _attribute: str) -> int:
                return 132

            def total_memory(self) -> int:
                return cuda.memory_bytes

        return Device


class _Allocation:
    def __init__(self, cuda: FakeCuda, address: int) -> None:
        self._cuda, self._address = cuda, address

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        del self._cuda.memory[self._address]
