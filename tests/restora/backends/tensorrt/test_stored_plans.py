"""Facts about plans that a session finds in the cache instead of building them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plans_fakes import artifacts_for, working_tensorrt
from restora.backends.options import PlanOptions, SessionOptions
from restora.backends.tensorrt.adopt import adopt_plans, may_run
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import CachedPlan, PlanCache
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.open import session_on
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plans
from restora.backends.tensorrt.profiles import plan_profiles
from restora.backends.tensorrt.stored_plans import find_built, options_of, profile_of
from restora.errors import OptionError
from tensorrt_double import FakeTensorRT

TILES = PlanOptions(tile=32, batches=(1, 2), max_tile=64, graphs=False)
H100 = DeviceFacts("NVIDIA H100", "9.0", 132, 80 << 30, 12040, "10.13.3", "550")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanCache:
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
    return PlanCache()


def build_ahead(trt: FakeTensorRT, cache: PlanCache, gpu: int = 0, **flags: Any) -> None:
    """What `restora build` does."""
    family = artifacts_for(trt)
    options = BuildOptions(precision="fp16", **flags)
    rungs = plan_candidates(trt, options, family)
    profiles = plan_profiles(family[0].info, tile=32, batches=(1, 2), max_tile=64)
    prepare_plans(trt, Device(trt.world.cuda, gpu), cache, rungs, profiles)


def restore(trt: FakeTensorRT, plans: PlanOptions, gpu: int = 0) -> int:
    """What `restora restore` does, with the right picture. Returns the number of builds."""
    before = len(trt.world.builds)
    options = SessionOptions(plans=plans)
    session, precision = session_on(trt, Device(trt.world.cuda, gpu), artifacts_for(trt), options)
    image = np.random.default_rng(0).integers(1, 256, (2, 32, 32, 3), np.uint8)
    assert np.array_equal(session.run(image), trt.world.network(image))
    session.close()
    assert precision == "fp16"
    return len(trt.world.builds) - before


@pytest.mark.parametrize("version", ["8.6", "10.16", "11.4"])
@pytest.mark.parametrize("flag", ["version_compatible", "strip_weights"])
@pytest.mark.parametrize("any_built", [True, False])
def test_plans_with_flags_are_used_and_nothing_is_built(
    version: str, flag: str, any_built: bool, cache: PlanCache
) -> None:
    """Also where the command names their sizes."""
    trt = working_tensorrt(version)
    if flag == "strip_weights" and version == "8.6":
        with pytest.raises(OptionError, match=r"TensorRT 8\.6\.0 has no plans without weights"):
            build_ahead(trt, cache, strip_weights=True)
        assert trt.world.builds == []
        return
    build_ahead(trt, cache, **{flag: True})
    assert len(trt.world.builds) == 3
    assert restore(trt, replace(TILES, any_built=any_built)) == 0
    assert (trt.world.refits > 0) == (flag == "strip_weights")


@pytest.mark.parametrize(
    ("plans", "missing"),
    [
        (replace(TILES, batches=(1, 4)), 1),
        (replace(TILES, opt_level=5), 3),
        (replace(TILES, max_tile=48), 1),
    ],
)
def test_what_is_asked_for_and_was_not_built_is_built(
    plans: PlanOptions, missing: int, cache: PlanCache
) -> None:
    trt = working_tensorrt("10.16")
    build_ahead(trt, cache)
    assert restore(trt, plans) == missing


def test_the_newest_of_two_plans_for_a_size_is_loaded_alone(cache: PlanCache) -> None:
    """A session that holds both has less memory for tiles."""
    trt = working_tensorrt("10.16")
    build_ahead(trt, cache)
    device = Device(trt.world.cuda)
    rungs = plan_candidates(trt, BuildOptions(precision="fp16"), artifacts_for(trt))
    facts = device.facts(str(trt.__version__))
    (key, _), *_ = cache.newest_first()
    plan = cache.load(key)
    assert plan is not None
    cache.store("0" * 64, CachedPlan(plan.plan, plan.facts))
    assert len(find_built(cache, facts, rungs)) == 3


def test_options_come_from_the_facts_that_were_verified(
    cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether host code may run is decided by them."""
    trt = working_tensorrt("10.16")
    build_ahead(trt, cache)
    listed = cache.newest_first()
    for _, facts in listed:
        facts["options"] = {**facts["options"], "version_compatible": True}
    monkeypatch.setattr(cache, "newest_first", lambda: listed)
    device = Device(trt.world.cuda)
    rungs = plan_candidates(trt, BuildOptions(precision="fp16"), artifacts_for(trt))
    found = find_built(cache, device.facts(str(trt.__version__)), rungs)
    assert len(found) == 3
    assert not any(rung.options.version_compatible for _, rung in found)


def update_tensorrt(old: FakeTensorRT, version: str) -> FakeTensorRT:
    new = working_tensorrt(version, gpus=2)
    new.world.plans = old.world.plans
    return new


def test_plans_for_later_versions_outlive_an_update_of_tensorrt(cache: PlanCache) -> None:
    old = working_tensorrt("10.16", gpus=2)
    build_ahead(old, cache, version_compatible=True)
    new = update_tensorrt(old, "11.4")
    assert restore(new, replace(TILES, any_built=True)) == 0
    facts = Device(new.world.cuda).facts(str(new.__version__))
    rungs = plan_candidates(new, BuildOptions(precision="fp16"), artifacts_for(new))
    found = find_built(cache, facts, rungs)
    assert len(found) == 3
    for plan, rung in found:
        assert rung.options.version_compatible
        assert plan.facts["device"]["tensorrt"] == "11.4.0.106"
        assert plan.facts["built_on"]["tensorrt"] == "10.16.1.11"
        assert plan.facts["selfcheck"]["gate"] == "passed"
    assert adopt_plans(new, Device(new.world.cuda), cache, rungs) == 0
    assert restore(new, TILES) == 0


def test_other_plans_are_built_again_after_an_update(
    cache: PlanCache, caplog: pytest.LogCaptureFixture
) -> None:
    """They are not even loaded, which would be an error for each of them."""
    old = working_tensorrt("10.16", gpus=2)
    build_ahead(old, cache)
    assert restore(update_tensorrt(old, "11.4"), replace(TILES, any_built=True)) == 3
    assert "from elsewhere" not in caplog.text
    later = working_tensorrt("11.4", gpus=2)
    build_ahead(later, cache, version_compatible=True)
    assert restore(update_tensorrt(later, "10.16"), replace(TILES, any_built=True)) == 0  # its own


def test_a_plan_from_elsewhere_that_computes_something_else_is_not_used(
    cache: PlanCache,
) -> None:
    old = working_tensorrt("10.16", gpus=2)
    build_ahead(old, cache, version_compatible=True)
    new = update_tensorrt(old, "11.4")
    right, known = new.world.network, len(new.world.builds)
    new.world.network = lambda image: (
        right(image) if len(new.world.builds) > known else right(image) // 2
    )
    assert restore(new, replace(TILES, any_built=True)) == 3


def test_plans_for_several_gpus_run_on_the_other_one(cache: PlanCache) -> None:
    trt = working_tensorrt("10.16", gpus=2)
    build_ahead(trt, cache, hardware="same_capability")
    assert restore(trt, replace(TILES, any_built=True), gpu=1) == 0
    plans = [cache.load(key) for key, _ in cache.newest_first()]
    assert len(plans) == 6
    assert all(plan is not None and profile_of(plan) for plan in plans)
    assert all(plan is not None and options_of(plan) for plan in plans)


@pytest.mark.parametrize(
    ("options", "change", "expected"),
    [
        (BuildOptions(), {}, True),
        (BuildOptions(), {"driver": "600"}, True),
        (BuildOptions(), {"tensorrt": "10.13.2"}, False),
        (BuildOptions(version_compatible=True), {"tensorrt": "10.13.2"}, True),
        (BuildOptions(version_compatible=True), {"tensorrt": "10.9.0"}, True),
        (BuildOptions(version_compatible=True), {"tensorrt": "10.14.0"}, False),
        (BuildOptions(version_compatible=True), {"cuda_runtime": 12020}, True),
        (
            BuildOptions(version_compatible=True),
            {"name": "A100", "capability": "8.0"},
            False,
        ),
        (BuildOptions(hardware="same_capability"), {"name": "NVIDIA H200"}, True),
        (BuildOptions(hardware="same_capability"), {"capability": "8.0"}, False),
        (BuildOptions(hardware="ampere_plus"), {"capability": "8.0", "memory_bytes": 1}, True),
        (BuildOptions(hardware="ampere_plus"), {"cuda_runtime": 12020}, False),
    ],
)
def test_a_plan_runs_where_its_options_say(
    options: BuildOptions, change: dict[str, Any], expected: bool
) -> None:
    assert may_run(options, asdict(replace(H100, **change)), H100) is expected


def test_a_gpu_before_ampere_runs_none_for_ampere() -> None:
    turing = replace(H100, capability="7.5")
    assert not may_run(BuildOptions(hardware="ampere_plus"), asdict(H100), turing)
    assert not may_run(BuildOptions(version_compatible=True), {"name": "another format"}, H100)
