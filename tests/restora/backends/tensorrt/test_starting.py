"""TensorRT is started only where CUDA starts: its runtime ends the process elsewhere."""

from typing import Any

import pytest

from pycuda_double import FakeCuda
from restora.backends.cuda_packages import CudaPart
from restora.backends.tensorrt import start
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.start import require_tensorrt_starts, start_tensorrt
from restora.errors import MissingBackendError
from tensorrt_double import VERSIONS, FakeTensorRT


class Machine:
    """TensorRT's double on a driver for CUDA 13.0, and what was started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, part: CudaPart | None) -> None:
        cuda = FakeCuda()
        self.trt = FakeTensorRT(VERSIONS[-1])
        self.trt.world.cuda = cuda
        self.device = Device(cuda)
        self.started: list[str] = []
        monkeypatch.setattr(start, "find_tensorrt", lambda: part)
        for name in ("Builder", "Runtime"):
            monkeypatch.setattr(self.trt, name, self._counting(name), raising=False)

    def _counting(self, name: str) -> Any:
        make = getattr(self.trt, name)

        def create(logger: Any) -> Any:
            self.started.append(name)
            return make(logger)

        return create

    def refuse(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Do what TensorRT does where CUDA does not start."""

        def builder(logger: Any) -> Any:
            logger.log("ERROR", "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

        monkeypatch.setattr(self.trt, "Builder", builder, raising=False)


def test_the_builder_is_started_before_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, None)
    start_tensorrt(machine.trt, machine.device)
    assert machine.started == ["Builder", "Runtime"]


def test_no_runtime_is_started_where_the_builder_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, None)
    machine.refuse(monkeypatch)
    with pytest.raises(MissingBackendError, match=r"does not start CUDA: .*error: 35"):
        require_tensorrt_starts(machine.trt, machine.device)
    assert machine.started == []


def test_a_driver_older_than_tensorrts_cuda_is_refused_without_starting_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, CudaPart("TensorRT", 14))
    with pytest.raises(MissingBackendError, match=r"supports CUDA 13\.0, but TensorRT 14 need"):
        require_tensorrt_starts(machine.trt, machine.device)
    assert machine.started == []


@pytest.mark.parametrize("major", [12, 13])
def test_a_driver_that_is_new_enough_needs_no_trial(
    monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    machine = Machine(monkeypatch, CudaPart("TensorRT", major))
    require_tensorrt_starts(machine.trt, machine.device)
    assert machine.started == []
