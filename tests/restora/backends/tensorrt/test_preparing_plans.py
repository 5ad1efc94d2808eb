"""Facts about plans that are checked before they are used, on doubles of TensorRT and CUDA."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuda_bindings_double import FakeNvrtc
from fakes import open_on_cpu, tiny_artifact
from plans_fakes import HOT, WIDE, artifacts_for, checked_artifact, spoil, working_tensorrt
from processes import run
from pycuda_double import FakeCuda
from restora.backends.options import PlanOptions, SessionOptions
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import CachedPlan, PlanCache, Refusal
from restora.backends.tensorrt.check import mirror_to
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.module import features_of
from restora.backends.tensorrt.open import session_on
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plan, prepare_plans
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.stored_plans import find_built, profile_of
from restora.byte_size import parse_size
from restora.cli.build import parse_batches
from restora.errors import (
    AccuracyGateError,
    OptionError,
)
from tensorrt_double import VERSIONS, FakeTensorRT


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest) -> FakeTensorRT:
    return working_tensorrt(request.param)


@pytest.fixture
def device(trt: FakeTensorRT) -> Device:
    return Device(trt.world.cuda)


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_plan_is_checked_when_it_is_built_and_found_again(
    trt: FakeTensorRT, device: Device, cache: PlanCache, precision: Any
) -> None:
    rungs = plan_candidates(trt, BuildOptions(precision=precision), artifacts_for(trt))
    plan, rung = prepare_plan(trt, device, cache, rungs, WIDE)
    assert rung.options.precision == precision
    assert plan.facts["selfcheck"] == {"psnr_mean": 150.0, "psnr_min": 150.0, "gate": "passed"}
    assert plan.facts["device"]["name"] == "NVIDIA Double"
    builds = len(trt.world.builds)
    again, _ = prepare_plan(trt, device, cache, rungs, WIDE)
    assert again.plan == plan.plan
    assert len(trt.world.builds) == builds


def test_an_fp16_plan_that_computes_something_else_gives_way_to_fp32(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    spoil(trt, "fp16")
    told: list[str] = []
    rungs = plan_candidates(trt, BuildOptions(precision="fp16"), artifacts_for(trt))
    typed = features_of(trt).strongly_typed
    expected = ["fp16", "fp32"] if typed else ["fp16", "mixed", "fp32"]
    assert [rung.options.precision for rung in rungs] == expected
    plan, rung = prepare_plan(trt, device, cache, rungs, WIDE, report=told.append)
    assert rung.options.precision == "fp32"
    assert "fails its gate: its PSNR" in plan.facts["attempts"][0]
    assert any("fp16, is refused" in line for line in told)


def test_between_fp16_and_fp32_comes_mixed(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    """From an artifact of its own, or on 8.6 with more layers kept in FP32."""
    right = trt.world.network
    builds = trt.world.builds
    typed = features_of(trt).strongly_typed

    def network(image: np.ndarray) -> np.ndarray:
        wrong = b'"fp16"' in builds[-1]["onnx"] if typed else len(builds) == 1
        return np.full_like(right(image), 100) if wrong else right(image)

    trt.world.network = network
    artifacts = [*artifacts_for(trt), *([checked_artifact("mixed")] if typed else [])]
    rungs = plan_candidates(trt, BuildOptions(precision="fp16"), artifacts)
    plan, rung = prepare_plan(trt, device, cache, rungs, WIDE)
    assert rung.options.precision == "mixed"
    assert len(builds) == 2
    assert plan.facts["attempts"][0].startswith("fp16: ")


def test_a_precision_that_was_refused_is_not_built_again(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    builds = trt.world.builds
    spoil(trt, "fp16")
    rungs = plan_candidates(trt, BuildOptions(precision="fp16"), artifacts_for(trt))
    prepare_plan(trt, device, cache, rungs, WIDE)
    count, told = len(builds), list[str]()
    plan, rung = prepare_plan(trt, device, cache, rungs, WIDE, report=told.append)
    assert len(builds) == count
    assert rung.options.precision == "fp32"
    assert "fp16, is refused: the plan of tiny in fp16 fails its gate" in told[0]
    assert "known from an earlier build; `restora build --retry` tries it" in told[0]
    facts = device.facts(str(trt.__version__))
    assert find_built(cache, facts, rungs) == [(plan, rung)]
    cache.clear()
    prepare_plan(trt, device, cache, rungs, WIDE)
    assert len(builds) == 2 * count


@pytest.mark.parametrize("any_built", [False, True])
def test_a_session_that_starts_again_builds_nothing(
    any_built: bool, trt: FakeTensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the asked precision was refused."""
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
    monkeypatch.setattr("restora.backends.tensorrt.open.import_nvrtc", FakeNvrtc)
    builds = trt.world.builds
    spoil(trt, "fp16")
    wanted = PlanOptions(any_built=any_built, tile=32, batches=(1,), max_tile=64, graphs=False)
    counts = []
    for _ in range(3):
        device = Device(trt.world.cuda)
        session, precision = session_on(
            trt, device, artifacts_for(trt), SessionOptions(plans=wanted)
        )
        session.close()
        assert precision == "fp32"
        counts.append(len(builds))
    assert counts[0] > 2
    assert counts[1:] == counts[:1] * 2


def test_what_cannot_be_compared_is_not_held_against_a_plan(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    rungs = plan_candidates(trt, BuildOptions(), artifacts_for(trt))
    with pytest.raises(AccuracyGateError, match="there is no reference result of tiny"):
        prepare_plan(trt, device, cache, rungs, HOT)
    assert cache.refusals() == []
    prepare_plan(trt, device, cache, rungs, HOT, reference_run=trt.world.network)


def test_plans_of_a_lower_precision_are_taken_only_after_a_refusal(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    rungs = plan_candidates(trt, BuildOptions(precision="fp16"), artifacts_for(trt))
    facts = device.facts(str(trt.__version__))
    prepare_plan(trt, device, cache, rungs[-1:], WIDE)
    assert find_built(cache, facts, rungs) == []
    assert [rung.options.precision for _, rung in find_built(cache, facts, rungs[-1:])] == ["fp32"]
    prepare_plan(trt, device, cache, rungs[:1], WIDE)
    assert [rung.options.precision for _, rung in find_built(cache, facts, rungs)] == ["fp16"]


def test_plans_of_two_builds_are_not_mixed(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    """The older build's plan for one size would be taken beside the newer build's."""
    facts = device.facts(str(trt.__version__))
    for number, (level, profiles) in enumerate(((5, (WIDE, HOT)), (1, (WIDE,)))):
        rungs = plan_candidates(trt, BuildOptions(opt_level=level), artifacts_for(trt))
        prepare_plans(trt, device, cache, rungs, profiles)
        assert cache.folder is not None
        for path in cache.folder.glob("*.json"):
            if json.loads(path.read_text())["options"]["opt_level"] == level:
                os.utime(path, (1000 + number, 1000 + number))
    ((plan, rung),) = find_built(cache, facts, rungs)
    assert plan.facts["options"]["opt_level"] == rung.options.opt_level == 1
    assert profile_of(plan) == WIDE


@pytest.mark.parametrize(
    "options",
    [5, None, [], {"precision": "fp32", "color": "red"}, {"precision": "fp32", "opt_level": 9}],
)
def test_plans_of_another_version_are_left_alone(
    options: object, trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    rungs = plan_candidates(trt, BuildOptions(), artifacts_for(trt))
    plan, _ = prepare_plan(trt, device, cache, rungs, WIDE)
    facts = device.facts(str(trt.__version__))
    for changed in ({"options": options}, {"device": options}):
        cache.clear()
        cache.store("0" * 64, CachedPlan(plan.plan, {**plan.facts, **changed}))
        assert find_built(cache, facts, rungs) == []


def test_if_no_precision_is_right_nothing_is_used(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    trt.world.network = lambda image: np.zeros((len(image), *(2 * s for s in image.shape[1:3]), 3))
    rungs = plan_candidates(trt, BuildOptions(precision="fp16"), artifacts_for(trt))
    with pytest.raises(AccuracyGateError, match=r"no plan of tiny can be used: fp16: .*fp32: "):
        prepare_plan(trt, device, cache, rungs, WIDE)
    assert list(cache.entries()) == []


def test_a_plan_for_one_size_is_held_against_one_for_several(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    rungs = plan_candidates(trt, BuildOptions(), artifacts_for(trt))
    with pytest.raises(AccuracyGateError, match="there is no reference result of tiny"):
        prepare_plan(trt, device, cache, rungs, HOT)
    plan, _ = prepare_plan(trt, device, cache, rungs, HOT, reference_run=trt.world.network)
    assert plan.facts["selfcheck"]["gate"] == "passed"
    assert mirror_to(np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3), (2, 5, 3, 3)).shape == (
        2,
        5,
        3,
        3,
    )


def test_a_plan_that_took_fewer_sizes_says_so(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    """Also when it comes back from the cache, where shapes are JSON lists."""
    best = (1, 16, 24, 3)
    wide = Profile((1, 8, 8, 3), best, (1, 64, 64, 3))

    def fail(build: dict[str, Any]) -> str | None:
        low, _, high = build["profiles"][0]["image"]
        return None if low == high else "out of memory"

    trt.world.fail = fail
    rungs = plan_candidates(trt, BuildOptions(), artifacts_for(trt))
    for _ in range(2):
        plan, _ = prepare_plan(trt, device, cache, rungs, wide)
        assert profile_of(plan) == Profile(best, best, best)
    # as asked, with less workspace, up to 32, up to 24, with another best size, for one size
    assert len(trt.world.builds) == 6


def test_an_artifact_without_a_picture_gives_no_plan(
    trt: FakeTensorRT, device: Device, cache: PlanCache
) -> None:
    rungs = plan_candidates(trt, BuildOptions(), [tiny_artifact()])
    with pytest.raises(AccuracyGateError, match="has no self-check"):
        prepare_plan(trt, device, cache, rungs, WIDE)


def test_fp16_without_its_artifact_says_what_to_make(trt: FakeTensorRT) -> None:
    if features_of(trt).strongly_typed:
        with pytest.raises(OptionError, match="restora export --precision fp16"):
            plan_candidates(trt, BuildOptions(precision="fp16"), [checked_artifact()])
    else:
        rungs = plan_candidates(trt, BuildOptions(precision="fp16"), [checked_artifact()])
        assert [rung.artifact.info.precision for rung in rungs] == ["fp32", "fp32", "fp32"]


def test_sizes_and_batches_are_read() -> None:
    assert parse_size("4G") == 4 << 30
    assert parse_size("512m") == 512 << 20
    assert parse_batches("1,4,8") == [1, 4, 8]
    for wrong in ("", "4X", "G"):
        with pytest.raises(OptionError):
            parse_size(wrong)
    with pytest.raises(OptionError):
        parse_batches("1;2")


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_without_a_driver_build_says_so_in_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, "build", "restora-lite-x2")
    assert result.returncode == 6
    assert result.stderr.count("\n") == 1
    assert "no NVIDIA driver" in result.stderr


def test_the_cache_is_listed_verified_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
    trt = FakeTensorRT("10.16")
    trt.world.cuda = FakeCuda()
    trt.world.network = open_on_cpu(tiny_artifact()).run
    rungs = plan_candidates(trt, BuildOptions(), [checked_artifact()])
    plan, _ = prepare_plan(trt, Device(trt.world.cuda), PlanCache(), rungs, WIDE)
    PlanCache().store("0" * 64, Refusal("30 dB, 50 needed", plan.facts))
    (row,) = run(tmp_path, "cache", "list", "--json").stdout.splitlines()
    assert json.loads(row)["selfcheck"]["gate"] == "passed"
    listed = run(tmp_path, "cache", "list").stdout
    assert listed.startswith("plan")
    assert "refused: tiny, fp32, 1x64x64: 30 dB, 50 needed" in listed
    assert run(tmp_path, "cache", "verify").returncode == 0
    (plan,) = (tmp_path / "plans").glob("*.plan")
    plan.write_bytes(plan.read_bytes() + b"x")
    damaged = run(tmp_path, "cache", "verify")
    assert damaged.returncode == 5
    assert "damaged or changed" in damaged.stderr
    assert "deleted 1 plans" in run(tmp_path, "cache", "clear").stderr
    assert not list((tmp_path / "plans").glob("*.plan"))
