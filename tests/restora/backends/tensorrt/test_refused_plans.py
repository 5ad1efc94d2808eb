"""Facts about refused plans, which no later process builds again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plans_fakes import (
    WIDE,
    artifacts_for,
    checked_artifact,
    files_in,
    spoil,
    working_tensorrt,
)
from restora.backends.options import PlanOptions, SessionOptions
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.open import session_on
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plan
from restora.backends.tensorrt.stored_plans import find_built
from restora.errors import (
    AccuracyGateError,
    BuildError,
    DeviceLostError,
)
from tensorrt_double import VERSIONS, FakeTensorRT


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


def test_what_cannot_be_built_is_built_by_no_later_process(
    trt: FakeTensorRT, device: Device, cache: PlanCache, tmp_path: Path, monkeypatch: Any
) -> None:
    """Each start would take minutes for four builds that fail."""

    def fail(build: dict[str, Any]) -> str | None:
        half = "FP16" in build["flags"] or b'"fp16"' in build["onnx"]
        return "no low-precision kernel" if half else None

    trt.world.fail = fail
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
    counts = []
    for any_built in (False, False, True):
        plans = PlanOptions(any_built=any_built, tile=32, batches=(1,), max_tile=64, graphs=False)
        options = SessionOptions(plans=plans)
        session, precision = session_on(trt, device, artifacts_for(trt), options)
        session.close()
        assert precision == "fp32"
        counts.append(len(trt.world.builds))
    assert counts[1:] == counts[:1] * 2
    refusal = cache.refusals()[0]
    assert "no low-precision kernel" in refusal.reason
    assert refusal.facts["device"]["tensorrt"] == trt.__version__
    assert refusal.facts["device"]["name"] == "NVIDIA Double"
    trt.world.fail = lambda _build: None
    plan, rung = prepare_plan(trt, device, cache, candidates(trt), WIDE, retry=True)
    assert rung.options.precision == "fp16"
    assert prepare_plan(trt, device, cache, candidates(trt), WIDE)[0].plan == plan.plan


def test_a_retry_that_succeeds_ends_the_refusal(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    right = trt.world.network
    spoil(trt, "fp16")
    rungs = candidates(trt)[:1]
    with pytest.raises(AccuracyGateError):
        prepare_plan(trt, device, cache, rungs, WIDE)
    assert len(files_in(cache.folder, ".refusal")) == 1
    count = len(trt.world.builds)
    with pytest.raises(AccuracyGateError, match="fails its gate"):
        prepare_plan(trt, device, cache, rungs, WIDE)
    assert len(trt.world.builds) == count
    trt.world.network = right
    plan, _ = prepare_plan(trt, device, cache, rungs, WIDE, retry=True)
    assert files_in(cache.folder, ".refusal") == []
    ((found, _),) = find_built(cache, device.facts(str(trt.__version__)), rungs)
    assert found.plan == plan.plan


def test_a_refusal_of_another_version_of_restora_does_not_count(
    trt: FakeTensorRT, device: Device, cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It builds in another way."""
    trt.world.fail = lambda _build: "no kernel"
    rungs = candidates(trt, "fp32")
    with pytest.raises(BuildError, match=r"no plan of tiny can be used: fp32: .*no kernel"):
        prepare_plan(trt, device, cache, rungs, WIDE)
    monkeypatch.setattr("restora.backends.tensorrt.cache.__version__", "99")
    trt.world.fail = lambda _build: None
    prepare_plan(trt, device, cache, rungs, WIDE)


@pytest.mark.parametrize("failure", ["execute", "load"])
def test_a_plan_that_does_not_run_is_refused(
    failure: str, trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    if failure == "execute":
        trt.world.execute_fails = True
    else:
        trt.world.refusal = "Serialization assertion failed"
    rungs = candidates(trt, "fp32")
    for _ in range(2):
        with pytest.raises(AccuracyGateError, match="no plan of tiny can be used: fp32: "):
            prepare_plan(trt, device, cache, rungs, WIDE)
    assert len(trt.world.builds) == 1


def test_a_plan_with_which_the_gpu_fails_is_not_used_by_the_next_process(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    right = trt.world.network

    def network(image: Any) -> Any:
        raise trt.world.cuda.Error("an illegal memory access was encountered")

    trt.world.network = lambda image: network(image) if image.any() else right(image)
    rungs = candidates(trt)
    with pytest.raises(DeviceLostError):
        prepare_plan(trt, device, cache, rungs, WIDE)
    (refusal,) = cache.refusals()
    assert refusal.reason.startswith("the GPU failed while its plan ran")
    trt.world.network, trt.world.cuda.lost = right, False
    assert prepare_plan(trt, device, cache, rungs, WIDE)[1].options.precision != "fp16"


def test_a_refusal_says_what_was_asked(cache: PlanCache) -> None:
    trt = working_tensorrt("10.16")
    trt.world.fail = lambda _build: "no kernel"
    with pytest.raises(BuildError):
        prepare_plan(trt, Device(trt.world.cuda), cache, candidates(trt, "fp32"), WIDE)
    (path,) = files_in(cache.folder, ".refusal")
    facts = json.loads(path.read_text())
    assert facts["asked_profile"]["largest"] == list(WIDE.largest)
    assert not facts["was_built"]
    assert facts["onnx"] == checked_artifact().sha256
