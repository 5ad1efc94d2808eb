"""Facts about the plan cache: a plan is used only if it is whole, ours, and for this machine."""

import json
import logging
import multiprocessing
import os
import signal
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from restora.errors import OutputError, UnsafePathError
from restora.tensorrt.build import BuildOptions
from restora.tensorrt.cache import CachedPlan, PlanCache, plan_key
from restora.tensorrt.device import DeviceFacts
from restora.tensorrt.profiles import Profile

DEVICE = DeviceFacts("NVIDIA Test", "9.0", 132, 1 << 37, 12040, "10.16.1", "580.1")
PROFILE = Profile((1, 8, 8, 3), (1, 64, 64, 3), (1, 64, 64, 3))
KEY = plan_key("0" * 64, DEVICE, BuildOptions(), PROFILE)
MADE = CachedPlan(b"a plan" * 100, {"model": "tiny"})


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, tuple):
        return (*value[:-1], value[-1] + 1)
    return {"fp32": "fp16", "none": "ampere_plus"}.get(value, f"{value}x")


def test_any_other_field_gives_another_key() -> None:
    keys = {KEY, plan_key("1" * 64, DEVICE, BuildOptions(), PROFILE)}
    options, count = BuildOptions(), 2
    for field in fields(DeviceFacts):
        device = replace(DEVICE, **{field.name: changed(getattr(DEVICE, field.name))})
        keys.add(plan_key("0" * 64, device, options, PROFILE))
        count += field.name != "driver"
    for field in fields(BuildOptions):
        other = replace(options, **{field.name: changed(getattr(options, field.name))})
        keys.add(plan_key("0" * 64, DEVICE, other, PROFILE))
        count += 1
    for field in fields(Profile):
        profile = replace(PROFILE, **{field.name: changed(getattr(PROFILE, field.name))})
        keys.add(plan_key("0" * 64, DEVICE, options, profile))
        count += 1
    assert len(keys) == count


def test_a_stored_plan_comes_back(cache: PlanCache) -> None:
    assert cache.load(KEY) is None
    cache.store(KEY, MADE)
    found = cache.load(KEY)
    assert found is not None
    assert found.plan == MADE.plan
    assert found.facts["model"] == "tiny"
    assert oct(cache.folder.stat().st_mode & 0o777) == "0o700"
    assert oct((cache.folder / "cache.key").stat().st_mode & 0o777) == "0o600"
    assert [(key, problem) for key, _, problem in cache.entries()] == [(KEY, None)]
    assert cache.clear() == 1
    assert cache.load(KEY) is None


@pytest.mark.parametrize("byte", [0, 37, 599])
def test_one_flipped_bit_is_enough_to_build_again(
    cache: PlanCache, byte: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache.store(KEY, MADE)
    path = cache.folder / f"{KEY}.plan"
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(bytes(data))
    with caplog.at_level(logging.WARNING):
        assert cache.load(KEY) is None
    assert "damaged or changed" in caplog.text
    plan, built = cache.get_or_build(KEY, lambda: MADE)
    assert built
    assert plan.plan == MADE.plan
    assert cache.load(KEY) is not None


@pytest.mark.parametrize("what", ["facts", "facts cut", "plan cut", "plan gone", "key", "renamed"])
def test_what_was_tampered_with_is_not_used(cache: PlanCache, what: str) -> None:
    cache.store(KEY, MADE)
    plan, facts = cache.folder / f"{KEY}.plan", cache.folder / f"{KEY}.json"
    key = KEY
    if what == "facts":
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "model": "other"}))
    elif what == "facts cut":
        facts.write_text(facts.read_text()[:40])
    elif what == "plan cut":
        plan.write_bytes(plan.read_bytes()[:-1])
    elif what == "plan gone":
        plan.unlink()
    elif what == "key":
        (cache.folder / "cache.key").write_bytes(b"another secret")
    else:
        key = "f" * 64
        plan.rename(cache.folder / f"{key}.plan")
        facts.rename(cache.folder / f"{key}.json")
    assert cache.load(key) is None


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "plans"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UnsafePathError, match="chmod 700"):
        PlanCache(folder)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UnsafePathError, match="must be a folder"):
        PlanCache(tmp_path / "link")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "plans"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(UnsafePathError, match="belongs to another user"):
        PlanCache(folder)


def test_a_cache_that_cannot_be_written_costs_a_warning(
    cache: PlanCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_arguments: object) -> None:
        raise OutputError("no space left on device")

    monkeypatch.setattr("restora.tensorrt.cache.write_atomically", full)
    with caplog.at_level(logging.WARNING):
        plan, built = cache.get_or_build(KEY, lambda: MADE)
    assert built
    assert plan.plan == MADE.plan
    assert "used from memory" in caplog.text


def test_a_folder_that_cannot_be_made_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = PlanCache.__new__(PlanCache)
    cache.folder = tmp_path / "file" / "plans"
    with caplog.at_level(logging.WARNING):
        _, built = cache.get_or_build(KEY, lambda: MADE)
    assert built
    assert "used from memory" in caplog.text


def build_slowly(folder: Path, log: Path) -> None:
    def build() -> CachedPlan:
        with log.open("a") as stream:
            stream.write("built\n")
        time.sleep(0.3)
        return MADE

    plan, _ = PlanCache(folder).get_or_build(KEY, build)
    assert plan.plan == MADE.plan


def test_of_eight_processes_one_builds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    workers = [
        context.Process(target=build_slowly, args=(tmp_path / "plans", log)) for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert log.read_text() == "built\n"


def build_for_ever(folder: Path, started: Path) -> None:
    def build() -> CachedPlan:
        started.touch()
        time.sleep(60)
        return MADE

    PlanCache(folder).get_or_build(KEY, build)


def test_a_killed_build_leaves_the_way_free(tmp_path: Path) -> None:
    started = tmp_path / "started"
    worker = multiprocessing.get_context("fork").Process(
        target=build_for_ever, args=(tmp_path / "plans", started)
    )
    worker.start()
    while not started.exists():
        time.sleep(0.01)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(10)
    _, built = PlanCache(tmp_path / "plans").get_or_build(KEY, lambda: MADE)
    assert built
