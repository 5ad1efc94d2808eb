"""Parts of different CUDA major versions are found, and one line says what to install."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from restora.backends import cuda_packages, cuda_versions
from restora.backends.cuda_packages import CudaPart, find_tensorrt, name_gpu_extra
from restora.backends.cuda_versions import describe_mismatch, find_cuda_parts
from restora.backends.tensorrt.bindings import import_driver, import_nvrtc
from restora.backends.tensorrt.module import import_tensorrt
from restora.errors import MissingBackendError


class Installed:
    """What is installed, by package; and what the libraries say when they are loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, debian: Path) -> None:
        self.packages: dict[str, str] = {}
        self.pycuda: tuple[int, int, int] | None = None
        self.nvrtc: tuple[int, int, int] | None = None
        self.onnxruntime = ""
        monkeypatch.setattr(cuda_packages, "version", self._version)
        monkeypatch.setattr(cuda_versions, "import_pycuda", self._import_pycuda)
        monkeypatch.setattr(cuda_versions, "import_nvrtc", self._import_nvrtc)
        monkeypatch.setattr(cuda_packages, "_DEBIAN_PACKAGES", debian)
        monkeypatch.setattr(
            "restora.backends.onnxruntime_build.cuda_version", lambda: self.onnxruntime
        )

    def _version(self, package: str) -> str:
        if package not in self.packages:
            raise PackageNotFoundError(package)
        return self.packages[package]

    def _import_pycuda(self) -> Any:
        if self.pycuda is None:
            raise MissingBackendError("no PyCUDA")
        return SimpleNamespace(get_version=lambda: self.pycuda)

    def _import_nvrtc(self) -> Any:
        if self.nvrtc is None:
            raise MissingBackendError("no NVRTC")
        return SimpleNamespace(nvrtcVersion=lambda: self.nvrtc)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Installed:
    return Installed(monkeypatch, tmp_path / "status")


def fill(installed: Installed, major: int) -> None:
    installed.packages = {f"tensorrt-cu{major}": "11.4.0.106", "cuda-bindings": f"{major}.3.1"}
    installed.pycuda = (major, 4, 0)
    installed.nvrtc = (0, major, 5)
    installed.onnxruntime = f"{major}.8"


@pytest.mark.parametrize("major", [12, 13])
def test_parts_of_one_major_version_fit(installed: Installed, major: int) -> None:
    fill(installed, major)
    parts = find_cuda_parts()
    assert [str(part) for part in parts] == [
        f"TensorRT {major}",
        f"PyCUDA {major}.4",
        f"cuda-bindings {major}.3",
        f"NVRTC {major}.5",
        f"ONNX Runtime {major}.8",
    ]
    assert describe_mismatch(parts, (13, 1)) is None
    assert name_gpu_extra() == f"gpu-cu{major}"


def test_nothing_installed_is_nothing_wrong(installed: Installed) -> None:
    assert find_cuda_parts() == []
    assert describe_mismatch([], (12, 4)) is None
    assert describe_mismatch([], None) is None
    assert name_gpu_extra() == "gpu-cu12"


@pytest.mark.parametrize("part", ["cuda-bindings", "nvrtc", "onnxruntime"])
def test_one_part_of_another_major_version_is_named(installed: Installed, part: str) -> None:
    fill(installed, 12)
    if part == "cuda-bindings":
        installed.packages[part] = "13.0.1"
    else:
        setattr(installed, part, (0, 13, 0) if part == "nvrtc" else "13.0")
    mismatch = describe_mismatch(find_cuda_parts(), (13, 1))
    assert mismatch is not None
    names = {"cuda-bindings": "cuda-bindings", "nvrtc": "NVRTC", "onnxruntime": "ONNX Runtime"}
    assert mismatch[0].endswith(f"; CUDA 13: {names[part]}")
    assert mismatch[1] == "pip install 'restora[gpu-cu12]'"


def test_pycuda_of_another_toolkit_is_compiled_again(installed: Installed) -> None:
    fill(installed, 13)
    installed.pycuda = (12, 6, 0)
    mismatch = describe_mismatch(find_cuda_parts(), (13, 1))
    assert mismatch is not None
    assert mismatch[1].startswith("pip install 'restora[gpu-cu13]'; pip install --force-reinstall")
    assert "the toolkit of CUDA 13" in mismatch[1]


def test_a_driver_that_is_too_old_for_all_parts_is_named(installed: Installed) -> None:
    fill(installed, 13)
    mismatch = describe_mismatch(find_cuda_parts(), (12, 4))
    assert mismatch is not None
    assert mismatch[0].startswith("the driver supports CUDA 12.4, but TensorRT 13, PyCUDA 13.4")
    assert mismatch[1].startswith("update the driver, or pip uninstall tensorrt-cu13 ")
    assert "pip install 'restora[gpu-cu12]'" in mismatch[1]


def test_tensorrt_that_the_driver_cannot_run_gives_way(installed: Installed) -> None:
    fill(installed, 12)
    installed.packages["tensorrt-cu13-libs"] = "11.4.0.106"
    del installed.packages["tensorrt-cu12"]
    mismatch = describe_mismatch(find_cuda_parts(), (12, 9))
    assert mismatch is not None
    assert mismatch[1] == (
        "pip uninstall tensorrt-cu13 tensorrt-cu13-bindings tensorrt-cu13-libs; "
        "pip install 'restora[gpu-cu12]'"
    )


def test_tensorrt_of_jetpack_is_known_by_its_debian_package(
    installed: Installed, tmp_path: Path
) -> None:
    fill(installed, 13)
    del installed.packages["tensorrt-cu13"]
    (tmp_path / "status").write_text(
        "Package: zlib1g\nVersion: 1:1.2.11\n\n"
        "Package: libnvinfer10\nStatus: install ok installed\nVersion: 10.3.0.30-1+cuda12.5\n"
    )
    assert find_tensorrt() == CudaPart("TensorRT", 12, 5)
    assert name_gpu_extra() == "jetson-cu12"
    mismatch = describe_mismatch(find_cuda_parts(), (12, 6))
    assert mismatch is not None
    assert mismatch[1].startswith("pip install 'restora[jetson-cu12]'")


@pytest.mark.parametrize("load", [import_driver, import_nvrtc])
def test_missing_bindings_are_installed_by_the_extra_of_the_same_cuda_version(
    installed: Installed, monkeypatch: pytest.MonkeyPatch, load: Any
) -> None:
    installed.packages["tensorrt-cu12"] = "11.4.0.106"
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(MissingBackendError, match=r"pip install 'restora\[gpu-cu12\]'"):
        load()


def test_a_python_that_does_not_see_the_tensorrt_of_jetpack_is_told_so(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingBackendError, match=r"not installed: .*restora\[gpu-cu12\]"):
        import_tensorrt()
    (tmp_path / "status").write_text("Package: libnvinfer10\nVersion: 10.3.0.30-1+cuda12.5\n")
    with pytest.raises(MissingBackendError, match=r"python3 -m venv --system-site-packages"):
        import_tensorrt()


@pytest.mark.parametrize(("package", "found"), [("tensorrt-libs", "8.6.1"), ("tensorrt", "8.6.0")])
def test_tensorrt_8_6_of_pip_is_for_cuda_12(installed: Installed, package: str, found: str) -> None:
    installed.packages[package] = found
    assert find_tensorrt() == CudaPart("TensorRT", 12)


def test_tensorrt_of_an_archive_does_not_tell_its_cuda_version(installed: Installed) -> None:
    installed.packages["tensorrt"] = "8.6.1.6"
    assert find_tensorrt() is None
