"""Start TensorRT where that is safe.

Where CUDA does not start, for example because the driver is too old, `Builder` raises a TypeError
and `Runtime` ends the process with a segmentation fault (seen with TensorRT 8.6).
"""

from __future__ import annotations

from typing import Any

from restora.backends.cuda_packages import find_tensorrt
from restora.backends.cuda_versions import describe_mismatch
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.log import BuildLog, make_logger
from restora.errors import MissingBackendError


def require_tensorrt_starts(trt: Any, device: Device) -> None:
    """Raise MissingBackendError if the driver is too old for this TensorRT.

    A TensorRT that is neither from pip nor from a Debian package does not tell its CUDA version:
    its builder is started, which takes up to seconds.
    """
    part = find_tensorrt()
    if part is None:
        start_tensorrt(trt, device)
        return
    version = device.cuda.get_driver_version()
    if part.major > version // 1000:
        mismatch = describe_mismatch([part], (version // 1000, version % 1000 // 10))
        assert mismatch is not None
        raise MissingBackendError(": ".join(mismatch))


def start_tensorrt(trt: Any, device: Device) -> None:
    """Start the builder on `device`, and the runtime if that succeeded.

    Raises MissingBackendError.
    """
    log = BuildLog()
    with device.current():
        try:
            trt.Builder(make_logger(trt, log))
        except TypeError as error:  # "factory function returned nullptr"
            raise MissingBackendError(
                log.describe(f"TensorRT {trt.__version__} does not start CUDA")
            ) from error
        trt.Runtime(make_logger(trt, log))
