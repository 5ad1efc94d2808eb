"""Import PyCUDA, and wrap the device and its errors."""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from restora.backends.tensorrt.device import DeviceFacts
from restora.errors import DeviceLostError, DeviceMemoryError, MissingBackendError


def import_pycuda() -> Any:
    """Import and initialize pycuda.driver. Raises MissingBackendError."""
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise MissingBackendError(
            f"running plans needs PyCUDA: pip install 'restora[gpu]' ({error})"
        ) from error
    start_driver(cuda)
    return cuda


def start_driver(cuda: Any) -> None:
    """Initialize pycuda.driver.

    Raises MissingBackendError, whose message distinguishes an outdated driver from a missing one.
    """
    try:
        cuda.init()
    except cuda.Error as error:
        reason = str(error)
        if any(words in reason for words in ("insufficient", "unsupported", "mismatch")):
            advice = "the driver is too old for this CUDA: update it"
        else:
            advice = "no GPU that this process may use"
        raise MissingBackendError(
            f"the NVIDIA driver does not start: {advice} ({reason.strip()})"
        ) from error


def require_driver_library() -> None:
    """Raise MissingBackendError on a machine without an NVIDIA driver."""
    if ctypes.util.find_library("cuda") is None and not Path("/dev/nvidiactl").exists():
        raise MissingBackendError("no NVIDIA driver: libcuda is not on this machine")


class Device:
    """One GPU through its primary context, which PyTorch and ONNX Runtime share.

    cuda: the pycuda.driver module
    """

    def __init__(self, cuda: Any, index: int = 0) -> None:
        self.cuda = cuda
        self.index = index
        count = cuda.Device.count()
        if not 0 <= index < count:
            raise MissingBackendError(f"GPU {index} is requested, this machine has {count}")
        self._device = cuda.Device(index)
        self._context = self._device.retain_primary_context()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this thread."""
        self._context.push()
        try:
            yield
        finally:
            self.cuda.Context.pop()

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn errors of the driver into DeviceMemoryError and DeviceLostError.

        doing: what is being done, for the message
        """
        try:
            yield
        except self.cuda.MemoryError as error:
            raise DeviceMemoryError(
                f"the GPU's memory is full while {doing}: use smaller tiles (--tile) ({error})"
            ) from error
        except self.cuda.Error as error:
            raise DeviceLostError(
                f"the GPU failed while {doing} ({error}): this process cannot use it any more, "
                "start a new one"
            ) from error

    @property
    def architecture(self) -> str:
        """The name of the architecture for compilers, such as "sm_90"."""
        major, minor = self._device.compute_capability()
        return f"sm_{major}{minor}"

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
