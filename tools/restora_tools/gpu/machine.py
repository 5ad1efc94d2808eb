"""What the TensorRT stages stand on: modules, and the device that they open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from restora.backends.driver import require_driver
from restora.backends.tensorrt.bindings import import_driver, import_nvrtc
from restora.backends.tensorrt.cuda import Device, import_pycuda
from restora.backends.tensorrt.module import import_tensorrt
from restora.errors import MissingBackendError


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules; tests give doubles. `missing` says why `driver` or `nvrtc` is None."""

    trt: Any
    cuda: Any
    driver: Any
    nvrtc: Any
    missing: tuple[str, ...] = ()

    def open_device(self) -> Device:
        return Device(self.cuda)


def import_modules() -> Modules:
    """The real ones. Raises MissingBackendError with what is missing, but for cuda-bindings."""
    require_driver()
    trt = import_tensorrt()
    cuda = import_pycuda()
    missing: list[str] = []
    driver, nvrtc = (_try(give, missing) for give in (import_driver, import_nvrtc))
    return Modules(trt, cuda, driver, nvrtc, tuple(missing))


def _try(give: Callable[[], Any], missing: list[str]) -> Any:
    try:
        return give()
    except MissingBackendError as error:
        missing.append(str(error))
        return None
