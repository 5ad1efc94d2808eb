"""Import ncnn, and find the GPUs that it can use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from restora.errors import MissingBackendError

_POLICY, _SPINS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
# a third of OpenMP's default: longer than the pauses between layers, about a millisecond
_SPIN_COUNT = "100000"
_SOFTWARE = 3  # GpuInfo.type() of a device that computes on the CPU


@dataclass(frozen=True, slots=True)
class VulkanDevice:
    """software: whether it computes on the CPU, such as Mesa's llvmpipe."""

    index: int
    name: str
    software: bool


def import_ncnn() -> Any:
    """Import the ncnn module.

    Idle threads wait actively for about a millisecond, then they sleep, unless OMP_WAIT_POLICY or
    GOMP_SPINCOUNT says otherwise. Waking them for each layer takes long on virtual machines, and
    longer waiting slows down other processes on the same cores.

    Raises MissingBackendError if it is not installed or cannot be loaded.
    """
    try:
        with _waiting_briefly():
            import ncnn
    except ImportError as error:
        raise MissingBackendError(
            f"running on ncnn needs pip install 'restora[ncnn]' ({error})"
        ) from error
    except OSError as error:
        raise MissingBackendError(
            f"ncnn is installed, but its libraries cannot be loaded: {error}"
        ) from error
    return ncnn


def find_devices(ncnn: Any) -> list[VulkanDevice]:
    """All Vulkan devices. The first call starts Vulkan, and ncnn writes their names to stderr."""
    devices = []
    for index in range(ncnn.get_gpu_count()):
        info = ncnn.get_gpu_info(index)
        devices.append(VulkanDevice(index, str(info.device_name()), info.type() == _SOFTWARE))
    return devices


def choose_device(ncnn: Any, number: int | None) -> VulkanDevice:
    """The Vulkan device with this number, or the one that ncnn prefers.

    Raises MissingBackendError if it is not there: ncnn would silently run on the CPU.
    """
    devices = find_devices(ncnn)
    if not devices:
        raise MissingBackendError(
            "there is no Vulkan device: install the Vulkan driver of the GPU, "
            "`vulkaninfo --summary` lists what it finds"
        )
    index = ncnn.get_default_gpu_index() if number is None else number
    if index >= len(devices):
        names = ", ".join(f"{device.index}: {device.name}" for device in devices)
        raise MissingBackendError(f"there is no Vulkan device {index}, only {names}")
    return devices[index]


@contextmanager
def _waiting_briefly() -> Iterator[None]:
    """Set the environment that OpenMP reads when its library is loaded, and restore it."""
    if _POLICY in os.environ or _SPINS in os.environ:
        yield
        return
    os.environ[_SPINS] = _SPIN_COUNT
    try:
        yield
    finally:
        del os.environ[_SPINS]
