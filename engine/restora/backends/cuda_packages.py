"""The CUDA version of installed packages, from their names and versions; nothing is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DEFAULT_MAJOR = 12  # every driver since 525 runs it
MAJORS = (12, 13)
_DEBIAN_PACKAGES = Path("/var/lib/dpkg/status")
_TENSORRT_OF_DEBIAN = re.compile(
    r"^Package: libnvinfer\d+\n(?:.+\n)*?Version: \S*\+cuda(\d+)\.(\d+)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class CudaPart:
    """An installed part and the CUDA version that it is made for. minor: None if unknown."""

    name: str
    major: int
    minor: int | None = None

    def __str__(self) -> str:
        minor = "" if self.minor is None else f".{self.minor}"
        return f"{self.name} {self.major}{minor}"


def find_tensorrt() -> CudaPart | None:
    """The CUDA version of TensorRT, from the name or the version of its package.

    None if it is neither from pip nor from a Debian package.
    """
    for major in MAJORS:
        if any(_has_package(f"tensorrt-cu{major}{part}") for part in ("", "-bindings", "-libs")):
            return CudaPart("TensorRT", major)
    if _has_package("tensorrt-libs"):  # 8.6.1 of pip
        return CudaPart("TensorRT", 12)
    match = _TENSORRT_OF_DEBIAN.search(_read_debian_packages())
    if match:
        return CudaPart("TensorRT", int(match[1]), int(match[2]))
    # the one wheel of PyPI that holds the libraries itself
    return CudaPart("TensorRT", 12) if _version_of("tensorrt") == "8.6.0" else None


def find_bindings() -> CudaPart | None:
    """The CUDA version of cuda-bindings, which loads the NVRTC of that version."""
    found = _version_of("cuda-bindings")
    return None if found is None else part_of("cuda-bindings", found)


def name_gpu_extra() -> str:
    """The extra that fits what is installed, such as "gpu-cu12"; "jetson-cu12" on JetPack 6."""
    part = find_tensorrt() or find_bindings()
    return name_extra_of(DEFAULT_MAJOR if part is None or part.major not in MAJORS else part.major)


def name_extra_of(major: int) -> str:
    """The extra of a CUDA version: without TensorRT where a Debian package provides it."""
    return f"{'jetson' if comes_with_system(find_tensorrt()) else 'gpu'}-cu{major}"


def comes_with_system(tensorrt: CudaPart | None) -> bool:
    """Whether TensorRT is a Debian package, as on a Jetson; only those tell the minor version."""
    return tensorrt is not None and tensorrt.minor is not None


def part_of(name: str, found: str) -> CudaPart | None:
    """The part of a version such as "12.9.4"; None if it is none."""
    match = re.match(r"(\d+)\.(\d+)", found)
    return CudaPart(name, int(match[1]), int(match[2])) if match else None


def _read_debian_packages() -> str:
    try:
        return _DEBIAN_PACKAGES.read_text(errors="replace")
    except OSError:
        return ""


def _has_package(name: str) -> bool:
    return _version_of(name) is not None


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
