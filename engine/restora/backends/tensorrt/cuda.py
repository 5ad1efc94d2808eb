"""Import PyCUDA, and wrap the device and its errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from restora.backends.cuda_packages import name_gpu_extra
from restora.backends.tensorrt.cuda_errors import lost_error, memory_error, says_lost
from restora.backends.tensorrt.device import DeviceFacts
from restora.errors import HostMemoryError, MissingBackendError, SessionError

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which PyCUDA has no name for


def import_pycuda() -> Any:
    """Import and initialize pycuda.driver. Raises MissingBackendError."""
    try:
        import pycuda.driver as cuda
    except ModuleNotFoundError as error:
        raise MissingBackendError(
            f"running plans needs PyCUDA: pip install 'restora[{name_gpu_extra()}]' ({error})"
        ) from error
    except ImportError as error:  # a library or one of its symbols is missing
        raise MissingBackendError(
            "PyCUDA is installed but cannot be loaded: the driver is older than the CUDA toolkit "
            f"that compiled it, or libraries of that toolkit are missing ({error})"
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


class Device:
    """One GPU through its primary context, which PyTorch and ONNX Runtime share.

    cuda: the pycuda.driver module

    The context is retained once per process and never released: PyCUDA's detach() of a primary
    context leaves it current in the same thread, and does nothing in another one.
    """

    def __init__(self, cuda: Any, index: int = 0) -> None:
        self.cuda = cuda
        self.index = index
        count = cuda.Device.count()
        if not 0 <= index < count:
            raise MissingBackendError(f"GPU {index} is requested, this machine has {count}")
        self._device = cuda.Device(index)
        self._context = _retain_context(cuda, index)

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
        """Turn errors of the driver into DeviceMemoryError, DeviceLostError and SessionError.

        doing: what is being done, for the message
        """
        try:
            yield
        except self.cuda.MemoryError as error:
            raise memory_error(doing, error) from error
        except self.cuda.Error as error:
            if says_lost(str(error)):
                raise lost_error(doing, error) from error
            raise SessionError(f"CUDA failed while {doing}: {error}") from error

    @contextmanager
    def host_errors(self, doing: str) -> Iterator[None]:
        """Like `errors`, for host memory: HostMemoryError if there is not enough."""
        try:
            with self.errors(doing):
                yield
        except MemoryError as error:
            raise HostMemoryError(
                f"the system has no host memory that the GPU can access while {doing}: free memory "
                f"or raise its limit, smaller tiles do not help ({error.__cause__ or error})"
            ) from error

    def make_stream(self) -> Any:
        """Make a stream that does not wait for the legacy default stream.

        A blocking stream makes synchronous calls of other threads fail while it is captured.
        """
        return self.cuda.Stream(_NON_BLOCKING)

    def make_event(self, *, blocking: bool = False) -> Any:
        """Make an event without timing. blocking: waiting threads sleep instead of spinning."""
        flags = self.cuda.event_flags
        sleeping = flags.BLOCKING_SYNC if blocking else 0
        return self.cuda.Event(flags.DISABLE_TIMING | sleeping)

    @property
    def memory_bytes(self) -> int:
        return int(self._device.total_memory())

    @property
    def integrated(self) -> bool:
        """Whether the GPU shares its memory with the CPU, as on a Jetson."""
        return bool(self._device.get_attribute(self.cuda.device_attribute.INTEGRATED))

    @property
    def architecture(self) -> str:
        """The name of the architecture for compilers, such as "sm_90"."""
        major, minor = self._device.compute_capability()
        return f"sm_{major}{minor}"

    @property
    def pci_bus_id(self) -> str:
        """Address such as "0000:65:00.0", which NVML knows too; the numbers of GPUs differ."""
        return str(self._device.pci_bus_id())

    def facts(self, tensorrt_version: str) -> DeviceFacts:
        attribute = self.cuda.device_attribute
        major, minor = self._device.compute_capability()
        cuda_major, cuda_minor, _ = self.cuda.get_version()
        return DeviceFacts(
            name=self._device.name(),
            capability=f"{major}.{minor}",
            multiprocessors=self._device.get_attribute(attribute.MULTIPROCESSOR_COUNT),
            memory_bytes=self._device.total_memory(),
            cuda_runtime=cuda_major * 1000 + cuda_minor * 10,
            tensorrt=tensorrt_version,
            driver=str(self.cuda.get_driver_version()),
        )


_contexts: WeakKeyDictionary[Any, dict[int, Any]] = WeakKeyDictionary()  # by module and GPU
_retaining = threading.Lock()


def _retain_context(cuda: Any, index: int) -> Any:
    with _retaining:
        contexts = _contexts.setdefault(cuda, {})
        if index not in contexts:
            contexts[index] = cuda.Device(index).retain_primary_context()
        return contexts[index]
