"""PyCUDA, imported here alone: the device, its facts, and memory that frees itself."""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from restora.errors import MissingBackendError, SessionError
from restora.tensorrt.device import DeviceFacts


def import_pycuda() -> Any:
    """pycuda.driver, initialised. Raises MissingBackendError."""
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise MissingBackendError(
            f"running plans needs PyCUDA: pip install 'restora[gpu]' ({error})"
        ) from error
    try:
        cuda.init()
    except cuda.Error as error:
        raise MissingBackendError(
            f"the NVIDIA driver does not start ({error}): too old a driver for this CUDA, or no "
            "GPU that this process may use; photos are restored on the CPU"
        ) from error
    return cuda


def require_driver_library() -> None:
    """Raise MissingBackendError, in one line, on a machine without an NVIDIA driver."""
    if ctypes.util.find_library("cuda") is None and not Path("/dev/nvidiactl").exists():
        raise MissingBackendError(
            "no NVIDIA driver: libcuda is not on this machine; photos are restored on the CPU"
        )


class Device:
    """One GPU through its primary context, which PyTorch and ONNX Runtime share.

    cuda  the pycuda.driver module
    """

    def __init__(self, cuda: Any, index: int = 0) -> None:
        self.cuda = cuda
        count = cuda.Device.count()
        if not 0 <= index < count:
            raise MissingBackendError(f"GPU {index} is asked for, this machine has {count}")
        self._device = cuda.Device(index)
        self._context = self._device.retain_primary_context()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this thread for a while."""
        self._context.push()
        try:
            yield
        finally:
            self.cuda.Context.pop()

    def facts(self, tensorrt_version: str) -> DeviceFacts:
        attribute = self.cuda.device_attribute
        major, minor = self._device.compute_capability()
        return DeviceFacts(
            name=self._device.name(),
            capability=f"{major}.{minor}",
            multiprocessors=self._device.get_attribute(attribute.MULTIPROCESSOR_COUNT),
            memory_bytes=self._device.total_memory(),
            cuda_runtime=int("".join(f"{part:02d}" for part in self.cuda.get_version())),
            tensorrt=tensorrt_version,
            driver=str(self.cuda.get_driver_version()),
        )

    def close(self) -> None:
        self._context.detach()


class DeviceBuffer:
    """Device memory that grows and never shrinks; use it while its device is current."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._memory: Any = None
        self._size = 0

    def of_size(self, size: int) -> int:
        """The address of at least `size` bytes; what was in it is lost when it grows."""
        if size > self._size:
            self.free()
            try:
                self._memory = self._device.cuda.mem_alloc(size)
            except self._device.cuda.MemoryError as error:
                raise DeviceMemoryError(
                    f"the GPU has no {size / 2**20:.0f} MiB left: use smaller tiles (--tile)"
                ) from error
            self._size = size
        return int(self._memory)

    def free(self) -> None:
        if self._memory is not None:
            self._memory.free()
        self._memory, self._size = None, 0


class DeviceMemoryError(SessionError):
    """The GPU's memory is full. Smaller tiles may fit."""
