"""Start NVIDIA's driver through its C library, before a larger library relies on it.

TensorRT and PyCUDA end in a TypeError, an ImportError or a segmentation fault where CUDA does not
start. Error numbers: CUDA driver API, cudaError_enum.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from restora.errors import MissingBackendError

LIBRARY = "libcuda.so.1"
_ADVICE = {
    34: "a stub of libcuda is loaded: remove its folder from LD_LIBRARY_PATH",
    100: "no GPU that this process may use; CUDA_VISIBLE_DEVICES or the container may hide it",
    802: "the GPUs are not ready: NVIDIA's fabric manager must run",
    803: "the driver's library and its kernel module have different versions: restart the machine, "
    "or the container",
    804: "this GPU does not support CUDA's forward compatibility: remove cuda-compat from "
    "LD_LIBRARY_PATH, or update the driver",
}
_OTHERWISE = "`nvidia-smi` must work first"


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver that starts. cuda: the newest CUDA that it supports, such as (12, 4)."""

    cuda: tuple[int, int]
    gpus: int


def require_driver() -> Driver:
    """Start the driver in this process.

    Raises MissingBackendError on a machine without a driver, without a GPU that this process may
    use, or with a driver that does not start.
    """
    library = _load()
    if code := library.cuInit(0):
        raise MissingBackendError(
            f"the NVIDIA driver does not start: {_ADVICE.get(code, _OTHERWISE)} "
            f"({_name_error(library, code)})"
        )
    version, gpus = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    library.cuDeviceGetCount(ctypes.byref(gpus))
    if not gpus.value:
        raise MissingBackendError(f"the NVIDIA driver does not start: {_ADVICE[100]}")
    return Driver((version.value // 1000, version.value % 1000 // 10), gpus.value)


def list_pci_bus_ids() -> list[str]:
    """Addresses such as "0000:65:00.0" of the GPUs that this process may use, in CUDA's order.

    NVML numbers all GPUs of the machine, in another order, and finds them by these addresses.
    Raises MissingBackendError where require_driver does.
    """
    count, library = require_driver().gpus, _load()
    addresses = []
    for index in range(count):
        device, text = ctypes.c_int(), ctypes.create_string_buffer(32)
        library.cuDeviceGet(ctypes.byref(device), index)
        library.cuDeviceGetPCIBusId(text, len(text), device)
        addresses.append(text.value.decode())
    return addresses


def _load() -> Any:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        if "No such file" in str(error):
            reason = f"no NVIDIA driver: {LIBRARY} is not on this machine"
        else:
            reason = f"the NVIDIA driver's library cannot be loaded: {error}"
        raise MissingBackendError(reason) from error


def _name_error(library: Any, code: int) -> str:
    name = ctypes.c_char_p()
    library.cuGetErrorName(code, ctypes.byref(name))
    return name.value.decode() if name.value else f"error {code} of CUDA"
