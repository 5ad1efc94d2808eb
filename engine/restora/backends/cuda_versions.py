"""The CUDA version that each installed part is made for: all must have one major version."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from restora.backends.cuda_packages import (
    MAJORS,
    CudaPart,
    find_bindings,
    find_tensorrt,
    name_extra_of,
    part_of,
)
from restora.backends.tensorrt.bindings import call, import_nvrtc
from restora.backends.tensorrt.cuda import import_pycuda
from restora.errors import RestoraError


def find_cuda_parts() -> list[CudaPart]:
    """All parts that are installed and can be loaded; TensorRT is the first."""
    found = (read() for read in _READERS)
    return [part for part in found if part is not None]


def describe_mismatch(
    parts: Sequence[CudaPart], driver: tuple[int, int] | None
) -> tuple[str, str] | None:
    """What does not fit together, and what to do about it, one line each; None if all fits.

    driver: the newest CUDA version that the driver supports, if there is a driver
    """
    majors = {part.major for part in parts}
    newest = max(majors, default=0)
    if driver is not None and len(majors) == 1 and newest > driver[0]:
        listed = ", ".join(map(str, parts))
        return (
            f"the driver supports CUDA {driver[0]}.{driver[1]}, but {listed} need CUDA {newest}",
            f"update the driver, or {_install(driver[0], parts)}",
        )
    if len(majors) < 2:
        return None
    groups = (
        f"CUDA {major}: " + ", ".join(part.name for part in parts if part.major == major)
        for major in sorted(majors)
    )
    return f"packages of different CUDA versions: {'; '.join(groups)}", _install(
        _choose_major(parts, driver), parts
    )


def _choose_major(parts: Sequence[CudaPart], driver: tuple[int, int] | None) -> int:
    """TensorRT's major version if the driver supports it, else the newest that it supports."""
    limit = driver[0] if driver else max(MAJORS)
    if parts[0].name == "TensorRT" and parts[0].major <= limit:
        return parts[0].major
    return max((part.major for part in parts if part.major <= limit), default=limit)


def _install(major: int, parts: Sequence[CudaPart]) -> str:
    major = min(max(major, MAJORS[0]), MAJORS[-1])
    others = [p for p in parts if p.major != major]
    steps = []
    if any(part.name == "TensorRT" for part in others):
        other = next(part.major for part in others if part.name == "TensorRT")
        names = " ".join(f"tensorrt-cu{other}{part}" for part in ("", "-bindings", "-libs"))
        steps.append(f"pip uninstall {names}")
    steps.append(f"pip install 'restora[{name_extra_of(major)}]'")
    if any(part.name == "PyCUDA" for part in others):
        steps.append(
            f"pip install --force-reinstall --no-deps --no-cache-dir pycuda (with the toolkit of "
            f"CUDA {major} in PATH)"
        )
    return "; ".join(steps)


def _find_nvrtc() -> CudaPart | None:
    try:
        major, minor = call(import_nvrtc().nvrtcVersion)
    except RestoraError:
        return None
    return CudaPart("NVRTC", int(major), int(minor))


def _find_pycuda() -> CudaPart | None:
    try:
        major, minor, _ = import_pycuda().get_version()  # of the toolkit that compiled it
    except RestoraError:
        return None
    return CudaPart("PyCUDA", int(major), int(minor))


def _find_onnxruntime() -> CudaPart | None:
    try:
        from restora.backends.onnxruntime_build import cuda_version
    except ImportError:
        return None
    return part_of("ONNX Runtime", cuda_version())


_READERS: tuple[Callable[[], CudaPart | None], ...] = (
    find_tensorrt,
    _find_pycuda,
    find_bindings,
    _find_nvrtc,
    _find_onnxruntime,
)
