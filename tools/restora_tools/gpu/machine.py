"""The GPU as a stage found it: facts, clocks, temperature, power. Nothing is ever set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from restora.backends.tensorrt.bindings import import_driver, import_nvrtc
from restora.backends.tensorrt.cuda import Device, import_pycuda
from restora.backends.tensorrt.module import import_tensorrt
from restora.errors import MissingBackendError


@dataclass(frozen=True, slots=True)
class Modules:
    """What the TensorRT stages stand on; tests give doubles."""

    trt: Any
    cuda: Any
    driver: Any
    nvrtc: Any

    def open_device(self) -> Device:
        return Device(self.cuda)


def import_modules() -> Modules:
    """The real ones. Raises MissingBackendError with what is missing; graphs may be missing."""
    trt = import_tensorrt()
    cuda = import_pycuda()
    return Modules(trt, cuda, _try(import_driver), _try(import_nvrtc))


def _try(give: Callable[[], Any]) -> Any:
    try:
        return give()
    except MissingBackendError:
        return None


def read_state(index: int = 0) -> dict[str, Any]:
    """Clocks in MHz, temperature in degrees Celsius, power in W, why clocks are held down; empty
    without NVML."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return {
            "sm_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "memory_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
            "celsius": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            "watt": round(pynvml.nvmlDeviceGetPowerUsage(handle) / 1000, 1),
            "throttle_reasons": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        }
    except pynvml.NVMLError as error:
        return {"error": str(error)}
