"""Import cuda-bindings, for what PyCUDA lacks: CUDA graphs and the runtime compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from restora.backends.cuda_packages import name_gpu_extra
from restora.errors import MissingBackendError, SessionError


class CudaCallError(SessionError):
    """A call of the driver or the compiler returned an error code, or its library is missing."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


def import_driver() -> Any:
    """Import cuda.bindings.driver. Raises MissingBackendError if it is not installed."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise MissingBackendError(
            f"CUDA graphs need cuda-bindings: {_install()} ({error})"
        ) from error
    return driver


def import_nvrtc() -> Any:
    """Import cuda.bindings.nvrtc. Raises MissingBackendError if it is not installed."""
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise MissingBackendError(
            f"blending tiles on the GPU needs cuda-bindings: {_install()} ({error})"
        ) from error
    return nvrtc


def call(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """Call a function of the bindings. Returns its result without the error code.

    Raises CudaCallError if the call fails, or if the shared library is missing.
    """
    name = getattr(function, "__name__", str(function))
    try:
        error, *results = function(*arguments)
    except RuntimeError as missing:  # raised when the shared library cannot be found
        raise CudaCallError(f"{name}: {missing}") from missing
    if int(error) != 0:
        raise CudaCallError(f"{name} failed: {getattr(error, 'name', error)}", code=int(error))
    return results[0] if len(results) == 1 else tuple(results) or None


def _install() -> str:
    """cuda-bindings alone would be the newest, for another CUDA version than the rest."""
    return f"pip install 'restora[{name_gpu_extra()}]'"
