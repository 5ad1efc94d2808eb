"""Facts about running one plan on batches in host memory, on doubles of TensorRT and CUDA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fakes import make_info
from plans_fakes import WIDE, working_tensorrt
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.engine_step import PlanRunner
from restora.backends.tensorrt.module import features_of
from restora.errors import (
    DeviceMemoryError,
    MissingBackendError,
    PlanError,
    SessionError,
    ShapeError,
)
from tensorrt_double import VERSIONS, FakeTensorRT

PLAN = b"PLAN of a double"


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest) -> FakeTensorRT:
    return working_tensorrt(request.param)


@pytest.fixture
def device(trt: FakeTensorRT) -> Device:
    return Device(trt.world.cuda)


def runner_of(trt: FakeTensorRT, device: Device, **more: Any) -> PlanRunner:
    return PlanRunner(trt, device, PLAN, info=make_info(), profile=WIDE, **more)


def test_a_batch_goes_through_the_device_and_comes_back(trt: FakeTensorRT, device: Device) -> None:
    image = np.random.default_rng(1).integers(0, 256, (1, 16, 24, 3), np.uint8)
    with runner_of(trt, device) as runner:
        restored, means = runner.run(image)
        assert np.array_equal(restored, trt.world.network(image))
        np.testing.assert_allclose(means, restored.mean((1, 2)), rtol=1e-5)
        runner.run(np.zeros((1, 8, 8, 3), np.uint8))
    assert trt.world.cuda.live == 0
    assert trt.world.cuda.pushed == 0
    assert trt.world.cuda.retained == 1


def test_many_runs_and_closings_leave_nothing(trt: FakeTensorRT, device: Device) -> None:
    for size in range(8, 64, 8):
        with runner_of(trt, device) as runner:
            for _ in range(3):
                runner.run(np.zeros((1, size, size, 3), np.uint8))
            assert trt.world.cuda.live == 5
    assert trt.world.cuda.live == 0


def test_batches_outside_of_the_profile_are_refused(trt: FakeTensorRT, device: Device) -> None:
    with runner_of(trt, device) as runner:
        for shape, dtype in (((1, 72, 8, 3), np.uint8), ((2, 8, 8, 3), np.uint8)):
            with pytest.raises(ShapeError, match="this plan takes uint8 batches from"):
                runner.run(np.zeros(shape, dtype))
        with pytest.raises(ShapeError, match="got float32"):
            runner.run(np.zeros((1, 8, 8, 3), np.float32))


def test_what_goes_wrong_on_the_gpu_is_said(trt: FakeTensorRT, device: Device) -> None:
    image = np.zeros((1, 64, 64, 3), np.uint8)
    with runner_of(trt, device) as runner:
        trt.world.execute_fails = True
        with pytest.raises(SessionError, match="failed on the GPU"):
            runner.run(image)
        trt.world.execute_fails = False
        trt.world.cuda.memory_bytes = 10_000
    with runner_of(trt, device) as runner, pytest.raises(DeviceMemoryError, match="smaller tiles"):
        runner.run(image)
    with pytest.raises(SessionError, match="is closed"):
        runner.run(image)
    with pytest.raises(PlanError, match="kind of GPU and with the version that built it"):
        PlanRunner(trt, device, b"no plan", info=make_info(), profile=WIDE)


def test_a_gpu_that_is_not_there_is_said(trt: FakeTensorRT) -> None:
    with pytest.raises(MissingBackendError, match="GPU 3 is requested, this machine has 1"):
        Device(trt.world.cuda, 3)


def test_plans_without_weights_are_refitted(device: Device, trt: FakeTensorRT) -> None:
    if not features_of(trt).strip:
        return
    with runner_of(trt, device, onnx=b"onnx", version_compatible=True) as runner:
        runner.run(np.zeros((1, 8, 8, 3), np.uint8))
    assert {"OnnxParserRefitter.refit_from_bytes", "Refitter.refit_cuda_engine"} <= trt.used
    assert "Runtime.engine_host_code_allowed" in trt.used
