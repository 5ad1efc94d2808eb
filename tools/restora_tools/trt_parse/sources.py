"""Fetch what the host program is built from: two sets of public headers and TensorRT's wheel."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

WHEEL = "tensorrt==8.6.0"  # the only version of PyPI whose wheel holds the libraries
LIBRARIES = ("libnvonnxparser.so.8", "libnvinfer.so.8", "libnvinfer_plugin.so.8")
_PLATFORMS = ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64")


@dataclass(frozen=True, slots=True)
class Repository:
    """Headers in a public git repository, at one commit. license: Apache-2.0"""

    url: str
    commit: str
    paths: tuple[str, ...]


# the commits with the interface of 8.6.0
TENSORRT = Repository(
    "https://github.com/NVIDIA/TensorRT", "3d97932454aa38d140c28f044d02b635b5c6ed80", ("include",)
)
ONNX_TENSORRT = Repository(
    "https://github.com/onnx/onnx-tensorrt",
    "ba6a4fb34fdeaa3613bf981610c657e7b663a699",
    ("NvOnnxParser.h",),
)


def fetch_headers(repository: Repository, folder: Path, *, clone: Path | None = None) -> Path:
    """Extract the headers into `folder`, and return the folder that holds them.

    clone: a git directory of the repository; None fetches the one commit
    """
    if clone is None:
        clone = folder / f"{repository.commit[:12]}.git"
        if not clone.exists():
            _git(folder, "init", "--quiet", "--bare", str(clone))
            _git(clone, "remote", "add", "origin", repository.url)
        # the one commit; of its files, `git archive` fetches those that it packs
        _git(
            clone,
            "fetch",
            "--quiet",
            "--depth=1",
            "--filter=blob:none",
            "origin",
            repository.commit,
        )
    packed = _git(clone, "archive", repository.commit, *repository.paths)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    first = folder / repository.paths[0]
    return first if first.is_dir() else folder


def fetch_libraries(folder: Path) -> Path:
    """Download the wheel (819 MB) once, and return the folder of the extracted libraries."""
    libraries = folder / "tensorrt"
    if all((libraries / name).exists() for name in LIBRARIES):
        return libraries
    wheels = folder / "wheel"
    if not list(wheels.glob("tensorrt-*.whl")):
        words = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        words += ["--python-version", "3.10", "--implementation", "cp", "--abi", "cp310"]
        for platform in _PLATFORMS:
            words += ["--platform", platform]
        command = [sys.executable, *words, "--dest", str(wheels), WHEEL]
        subprocess.run(command, check=True)  # noqa: S603
    (wheel,) = wheels.glob("tensorrt-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in LIBRARIES:
            archive.extract(f"tensorrt/{name}", folder)
    return libraries


def _git(folder: Path, *words: str) -> bytes:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
