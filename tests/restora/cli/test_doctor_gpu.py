"""`restora doctor` starts TensorRT and compares CUDA versions before it says that all is well."""

from typing import Any

import pytest

from cuda_bindings_double import FakeDriver, FakeNvrtc
from pycuda_double import FakeCuda
from restora import doctor
from restora.backends.cuda_packages import CudaPart
from restora.backends.driver import Driver
from restora.backends.tensorrt import start
from restora.doctor import Finding, examine
from restora.errors import MissingBackendError
from tensorrt_double import VERSIONS, FakeTensorRT


class Machine:
    """A machine whose driver runs CUDA 13.0, and where everything starts."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.cuda = FakeCuda()
        self.trt = FakeTensorRT(VERSIONS[-1])
        self.trt.world.cuda = self.cuda
        self.nvrtc: Any = FakeNvrtc()
        self.parts = [CudaPart("TensorRT", 13), CudaPart("NVRTC", 13, 5)]
        patch.setattr(doctor, "require_driver", lambda: Driver((13, 0), 1))
        patch.setattr(doctor, "import_tensorrt", lambda: self.trt)
        patch.setattr(doctor, "import_pycuda", lambda: self.cuda)
        patch.setattr(doctor, "import_driver", lambda: FakeDriver(self.cuda))
        patch.setattr(doctor, "import_nvrtc", lambda: self.nvrtc)
        patch.setattr(doctor, "find_cuda_parts", lambda: self.parts)
        patch.setattr(start, "find_tensorrt", lambda: self.parts[0])

    def examine(self) -> dict[str, Finding]:
        return {finding.what: finding for finding in examine()}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_tensorrt_that_starts_is_ok_with_its_gpu_and_cuda(machine: Machine) -> None:
    found = machine.examine()
    assert found["TensorRT session"].state == "ok"
    assert "without graphs" not in found["TensorRT session"].detail
    assert found["CUDA versions"] == Finding(
        "CUDA versions", "ok", "driver 13.0, TensorRT 13, NVRTC 13.5"
    )


def test_tensorrt_that_does_not_start_cuda_is_not_ok(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def builder(logger: Any) -> Any:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    def runtime(logger: Any) -> Any:
        raise AssertionError("TensorRT's runtime ends the process here")

    monkeypatch.setattr(machine.trt, "Builder", builder, raising=False)
    monkeypatch.setattr(machine.trt, "Runtime", runtime, raising=False)
    found = machine.examine()
    assert found["TensorRT session"].state == "missing"
    assert "does not start CUDA" in found["TensorRT session"].detail
    assert not found["auto"].detail.startswith("photos run on tensorrt")


def test_nvrtc_that_cannot_be_loaded_is_said(machine: Machine) -> None:
    class Broken:
        @staticmethod
        def nvrtcVersion() -> Any:  # noqa: N802
            raise RuntimeError("Failed to dlopen libnvrtc.so.13")

    machine.nvrtc = Broken()
    detail = machine.examine()["TensorRT session"].detail
    assert "without graphs or kernels: nvrtcVersion: Failed to dlopen libnvrtc.so.13" in detail


def test_mixed_cuda_versions_fail_with_what_to_install(machine: Machine) -> None:
    machine.parts.append(CudaPart("ONNX Runtime", 12, 8))
    found = machine.examine()["CUDA versions"]
    assert (found.state, found.advice) == ("failed", "pip install 'restora[gpu-cu13]'")
    assert "CUDA 12: ONNX Runtime; CUDA 13: TensorRT, NVRTC" in found.detail


def test_nothing_is_compared_where_nothing_is_installed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Any:
        raise MissingBackendError("no NVIDIA driver")

    monkeypatch.setattr(doctor, "require_driver", none)
    machine.parts = []
    assert "CUDA versions" not in machine.examine()
