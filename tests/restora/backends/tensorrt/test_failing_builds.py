"""Facts about builds that fail: what is tried again at once, later, or never."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import tiny_artifact
from plans_fakes import (
    HOT,
    WIDE,
    artifacts_for,
    files_in,
    working_tensorrt,
)
from restora.backends.tensorrt.build import build_plan
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plan, prepare_plans
from restora.backends.tensorrt.stored_plans import profile_of
from restora.errors import (
    BuildCanceledError,
    BuildError,
    DeviceLostError,
    DeviceMemoryError,
    MissingBackendError,
)
from tensorrt_double import VERSIONS, FakeTensorRT

FULL = "[virtualMemoryBuffer.cpp::resizePhysical::127] Error Code 2: OutOfMemory (no information)"
NO_TACTIC = "Error Code 10: Internal Error (Could not find any implementation for node conv_1)"


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest) -> FakeTensorRT:
    return working_tensorrt(request.param, gpus=2)


@pytest.fixture
def device(trt: FakeTensorRT) -> Device:
    return Device(trt.world.cuda)


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def candidates(trt: FakeTensorRT, precision: Any = "fp16") -> Any:
    return plan_candidates(trt, BuildOptions(precision=precision), artifacts_for(trt))


def test_a_plan_is_built_on_the_asked_gpu_and_filed_under_it(
    trt: FakeTensorRT, cache: PlanCache
) -> None:
    for gpu, name in ((1, "NVIDIA Double 1"), (0, "NVIDIA Double")):
        prepared = prepare_plans(
            trt, Device(trt.world.cuda, gpu), cache, candidates(trt), [WIDE, HOT]
        )
        assert [build["gpu"] for build in trt.world.builds[-2:]] == [gpu, gpu]
        assert {plan.facts["device"]["name"] for plan, _ in prepared} == {name}
    assert len(trt.world.builds) == 4
    assert trt.world.cuda.pushed == 0


@pytest.mark.parametrize("reason", [FULL, "Error Code 1: Cuda Runtime (out of memory)"])
def test_a_build_that_found_the_gpu_full_is_tried_again_next_time(
    reason: str, trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    """In a lower precision it would take more memory."""
    trt.world.fail = lambda _build: reason
    with pytest.raises(DeviceMemoryError, match=r"GPU's memory is full: TensorRT .* cannot build"):
        prepare_plan(trt, device, cache, candidates(trt), WIDE)
    assert cache.refusals() == []
    trt.world.fail = lambda _build: None
    assert prepare_plan(trt, device, cache, candidates(trt), WIDE)[1].options.precision == "fp16"


def test_after_a_full_gpu_smaller_tiles_are_tried(trt: FakeTensorRT, device: Device) -> None:
    def fail(build: dict[str, Any]) -> str | None:
        return FULL if build["profiles"][0]["image"][2][1] > 32 else None

    trt.world.fail = fail
    with device.current():
        built = build_plan(trt, tiny_artifact(), WIDE, BuildOptions())
    assert built.profile.largest == (1, 32, 32, 3)
    assert built.profile.smallest == WIDE.smallest
    assert [attempt.split(":")[0] for attempt in built.attempts] == [
        "as asked",
        "with 1024 MiB of workspace",
    ]


@pytest.mark.parametrize(
    ("warning", "error"),
    [
        (
            "Tactic Device request: 2 GB. Device memory is insufficient to use tactic.",
            MemoryError,
        ),
        ("Skipping tactic 3 due to insufficient memory on requested size", MemoryError),
        ("Unused Input: image", BuildError),
    ],
)
def test_tactics_that_did_not_fit_tell_a_full_gpu_from_a_missing_kernel(
    warning: str, error: type[Exception], trt: FakeTensorRT, device: Device
) -> None:
    trt.world.warns = (warning,)
    with device.current():
        build_plan(trt, tiny_artifact(), HOT, BuildOptions())
        trt.world.fail = lambda _build: NO_TACTIC
        with pytest.raises(error, match="Could not find any implementation"):
            build_plan(trt, tiny_artifact(), HOT, BuildOptions())


def test_a_canceled_build_ends_everything_and_keeps_what_it_timed(cache: PlanCache) -> None:
    trt = working_tensorrt("10.16")
    device = Device(trt.world.cuda)

    def cancel(*_: object) -> None:
        raise TimeoutError("the time is over")

    with pytest.raises(BuildCanceledError):
        prepare_plans(trt, device, cache, candidates(trt), [WIDE, HOT], progress=cancel)
    assert len(trt.world.builds) == 1
    assert cache.refusals() == []
    (timing,) = files_in(cache.folder, ".timing")
    assert timing.read_bytes().endswith(b"T")
    with pytest.raises(BuildCanceledError):  # also where the plan for several sizes is there
        prepare_plans(
            trt,
            device,
            cache,
            candidates(trt),
            [WIDE, HOT],
            progress=lambda *_: cancel() if len(trt.world.builds) == 3 else None,
        )
    assert len(trt.world.builds) == 3


def test_a_failed_attempt_passes_its_timings_on(trt: FakeTensorRT, device: Device) -> None:
    trt.world.fail = lambda build: "no" if build["workspace"]["WORKSPACE"] > 1 << 30 else None
    kept: list[bytes] = []
    with device.current():
        built = build_plan(
            trt, tiny_artifact(), HOT, BuildOptions(), timing_cache=b"0", keep_timing=kept.append
        )
    assert kept == [b"0T", b"0TT"]
    assert built.timing_cache == b"0TT"


def test_a_timing_cache_that_tensorrt_cannot_read_is_forgotten(
    trt: FakeTensorRT, device: Device
) -> None:
    """Seen with TensorRT 8.6 after a build that failed in Myelin."""
    trt.world.fail = lambda build: (
        "4: The timing cache will not be used!"
        if build["workspace"]["WORKSPACE"] > 1 << 30
        else None
    )
    kept: list[bytes] = []
    with device.current():
        build_plan(
            trt, tiny_artifact(), HOT, BuildOptions(), timing_cache=b"0", keep_timing=kept.append
        )
    assert kept == [b"", b"T"]


def test_a_plan_for_one_size_that_fails_is_left_out(
    trt: FakeTensorRT, device: Device, cache: PlanCache, caplog: pytest.LogCaptureFixture
) -> None:
    """The plan for several sizes runs that size too."""
    for reason in (FULL, "no kernel for this batch"):
        trt.world.fail = lambda build, reason=reason: (
            reason if build["profiles"][0]["image"][0][0] == 2 else None
        )
        told: list[str] = []
        prepared = prepare_plans(
            trt, device, cache, candidates(trt), [WIDE, HOT], report=told.append
        )
        assert [profile_of(plan) for plan, _ in prepared] == [WIDE]
        assert reason in told[-1]
        assert "(2, 64, 64, 3) runs slower" in told[-1]
    trt.world.fail = lambda _build: None
    count = len(trt.world.builds)
    for retry, plans in ((False, 1), (True, 2)):
        prepared = prepare_plans(trt, device, cache, candidates(trt), [WIDE, HOT], retry=retry)
        assert len(prepared) == plans
        assert len(trt.world.builds) - count == plans - 1


def test_a_gpu_that_fails_while_building_is_lost(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    trt.world.timings_are_lost = True
    trt.world.fail = lambda _build: "Cuda failure: an illegal memory access was encountered"
    with pytest.raises(DeviceLostError, match="while building tiny"):
        prepare_plan(trt, device, cache, candidates(trt), WIDE)
    assert len(trt.world.builds) == 1
    assert cache.refusals() == []


def test_a_builder_that_does_not_start_is_a_missing_backend(
    trt: FakeTensorRT, device: Device, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the driver is too old for TensorRT."""

    def fail(_logger: Any) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setitem(trt._made, "Builder", fail)
    with pytest.raises(MissingBackendError, match=r"the builder of TensorRT .* does not start"):
        prepare_plan(trt, device, cache, candidates(trt), WIDE)
    assert cache.refusals() == []
