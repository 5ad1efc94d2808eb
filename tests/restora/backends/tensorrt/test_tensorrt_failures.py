"""Facts about failed calls of TensorRT: the class of the error depends on what TensorRT logged."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_rig import Rig, blur_and_enlarge, on_the_cpu, picture
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.engine_step import PlanRunner
from restora.errors import DeviceLostError, DeviceMemoryError, PlanError, SessionError
from restora.image import Photo
from restora.tiling import Tiling
from restora.upsample import Upsampler
from tensorrt_double import VERSIONS

FULL = "[executionContext.cpp] Error Code 2: OutOfMemory (Requested size was 2147483648 bytes.)"
FULL_TOO = "Error Code 1: Cuda Runtime (out of memory)"
LOST = "Error Code 1: Cuda Runtime (an illegal memory access was encountered)"
OTHER = "Error Code 3: API Usage Error (Parameter check failed)"
KINDS = [
    (FULL, DeviceMemoryError),
    (FULL_TOO, DeviceMemoryError),
    (LOST, DeviceLostError),
]


@pytest.mark.parametrize(("reason", "kind"), [*KINDS, (OTHER, SessionError)])
def test_a_run_that_fails(reason: str, kind: type[Exception]) -> None:
    rig = Rig(graphs=False)
    session = rig.open()
    batch = picture(32, 32)[None]
    rig.trt.world.execute_error = reason
    with pytest.raises(SessionError) as found:
        session.run(batch)
    assert type(found.value) is kind
    assert reason in str(found.value)
    rig.trt.world.execute_error = None
    if kind is not DeviceLostError:
        assert np.array_equal(session.run(batch), blur_and_enlarge(batch))
        # an error of an earlier run says nothing about this one
        rig.trt.world.execute_fails = True
        with pytest.raises(SessionError, match="without a reason") as found:
            session.run(batch)
        assert type(found.value) is SessionError
    session.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("reason", "kind"), [*KINDS, (OTHER, PlanError)])
def test_a_context_that_cannot_be_made(version: str, reason: str, kind: type[Exception]) -> None:
    rig = Rig(version)
    session = rig.open()
    rig.trt.world.context_error = reason
    with pytest.raises(kind, match="Error Code"):
        session.run(picture(32, 32)[None])
    session.close()


@pytest.mark.parametrize(("reason", "kind"), [*KINDS, (OTHER, PlanError)])
def test_a_plan_that_cannot_be_loaded(reason: str, kind: type[Exception]) -> None:
    rig = Rig()
    rig.trt.world.refusal = reason
    with pytest.raises(kind, match="Error Code"):
        rig.open()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_profile_that_cannot_be_used_is_an_error_of_the_plan(version: str) -> None:
    """The binding raises RuntimeError, it returns no False."""
    rig = Rig(version)
    session = rig.open()
    rig.trt.world.profile_fails = True
    with pytest.raises(PlanError, match=r"cannot use its profile .*the profile is in use"):
        session.run(picture(32, 32)[None])
    session.close()


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_a_scratch_size_of_zero_is_an_error_where_the_plan_needs_scratch(version: str) -> None:
    rig = Rig(version)
    session = rig.open()
    rig.trt.world.scratch_fails = True
    with pytest.raises(SessionError, match="cannot determine the scratch memory"):
        session.run(picture(32, 32)[None])
    session.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plan_may_need_no_scratch(version: str) -> None:
    rig = Rig(version)
    rig.trt.world.scratch_bytes = 0
    session = rig.open()
    batch = picture(32, 32)[None]
    assert np.array_equal(session.run(batch), blur_and_enlarge(batch))
    session.close()


def test_tiles_are_halved_when_tensorrt_itself_is_out_of_memory() -> None:
    rig = Rig(tile=64, batches=(1,), max_tile=128)
    session = rig.open()
    upsampler = Upsampler(session, tiling=Tiling(size=128, overlap=8))
    rig.trt.world.largest_side = 64
    photo = Photo(picture(128, 128))
    result = upsampler.upsample(photo)
    assert upsampler.tiling.size == 64
    assert np.array_equal(result.pixels, on_the_cpu(photo.pixels, upsampler.tiling))
    session.close()


def test_a_plan_that_is_checked_uses_a_stream_that_does_not_block() -> None:
    rig = Rig()
    device = Device(rig.cuda)
    profile = rig.profiles[-1]
    with device.current():
        rig.load(device, profile)
    plan = next(reversed(rig.trt.world.plans))
    with PlanRunner(rig.trt, device, plan, info=rig.info, profile=profile) as runner:
        runner.run(np.zeros(profile.best, np.uint8))
        assert [stream.blocking for stream in rig.cuda.streams.values()] == [False]
