"""Facts about the plan cache: a plan is used only if it is whole, ours, and for this machine."""

import contextlib
import errno
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import CachedPlan, PlanCache, Refusal, plan_key
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.timing import TimingCacheFile
from restora.errors import OptionError, OutputError, UnsafePathError

DEVICE = DeviceFacts("NVIDIA Test", "9.0", 132, 1 << 37, 12040, "10.16.1", "580.1")
PROFILE = Profile((1, 8, 8, 3), (1, 64, 64, 3), (1, 64, 64, 3))
KEY = plan_key("0" * 64, DEVICE, BuildOptions(), PROFILE)
MADE = CachedPlan(b"a plan" * 100, {"model": "tiny"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "plans"


@pytest.fixture
def cache(folder: Path) -> PlanCache:
    return PlanCache(folder)


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


def test_a_stored_plan_comes_back(cache: PlanCache, folder: Path) -> None:
    assert cache.load(KEY) is None
    cache.store(KEY, MADE)
    found = cache.load(KEY)
    assert found is not None
    assert found.plan == MADE.plan
    assert found.facts["model"] == "tiny"
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert oct((folder / "cache.key").stat().st_mode & 0o777) == "0o600"
    assert [(key, problem) for key, _, problem in cache.entries()] == [(KEY, None)]
    assert cache.clear() == 1
    assert cache.load(KEY) is None


@pytest.mark.parametrize("byte", [0, 37, 599])
def test_one_flipped_bit_is_enough_to_build_again(
    cache: PlanCache, folder: Path, byte: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache.store(KEY, MADE)
    path = folder / f"{KEY}.plan"
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(bytes(data))
    with caplog.at_level(logging.WARNING):
        assert cache.load(KEY) is None
    assert "damaged or changed" in caplog.text
    assert cache.get_or_build(KEY, lambda: MADE) == (MADE, True)
    assert cache.load(KEY) is not None


@pytest.mark.parametrize("what", ["facts", "facts cut", "plan cut", "plan gone", "key", "renamed"])
def test_what_was_tampered_with_is_not_used(cache: PlanCache, folder: Path, what: str) -> None:
    cache.store(KEY, MADE)
    plan, facts = folder / f"{KEY}.plan", folder / f"{KEY}.json"
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
        (folder / "cache.key").write_bytes(b"another secret")
    else:
        key = "f" * 64
        plan.rename(folder / f"{key}.plan")
        facts.rename(folder / f"{key}.json")
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

    monkeypatch.setattr("restora.backends.tensorrt.plan_folder.write_atomically", full)
    with caplog.at_level(logging.WARNING):
        assert cache.get_or_build(KEY, lambda: MADE) == (MADE, True)
    assert "used from memory" in caplog.text


def test_a_folder_that_cannot_be_made_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = PlanCache(tmp_path / "file" / "plans")
    with caplog.at_level(logging.WARNING):
        _, built = cache.get_or_build(KEY, lambda: MADE)
    assert built
    assert "used from memory" in caplog.text


def refuse_writes(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """One call of the operating system answers with this error, as on a read-only disk."""

    def fail(path: Any, *_rest: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    def fail_to_open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            fail(path)
        return really_open(path, flags, *rest, **more)

    really_open = os.open
    # what filelock raises where the file system has no locks
    no_locks = NotImplementedError("FileSystem does not appear to support flock")
    if call == "open":
        monkeypatch.setattr("os.open", fail_to_open)
    elif call == "lock":
        monkeypatch.setattr("filelock.FileLock.acquire", _raising(no_locks))
    else:
        monkeypatch.setattr(f"os.{call}", fail)


def _raising(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
@pytest.mark.parametrize("call", ["open", "mkdir", "unlink", "link", "replace", "lock"])
@pytest.mark.parametrize("there", [False, True], ids=["no folder", "a folder"])
def test_where_nothing_can_be_written_the_plan_is_used_from_memory(
    folder: Path,
    call: str,
    number: int,
    there: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = "0" * 64
    if there:
        PlanCache(folder).store(other, MADE)
    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        refuse_writes(patch, call, number)
        cache = PlanCache(folder)
        assert cache.get_or_build(KEY, lambda: MADE) == (MADE, True)
        assert (cache.load(other) is not None) == there
    stored = PlanCache(folder).load(KEY) is not None
    assert stored == ("used from memory" not in caplog.text)
    assert "open" not in call or not stored


def test_a_folder_of_the_system_costs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for folder in (
        "/proc/self/plans",
        "/dev/null/plans",
        "/" + "x" * 300,
        "/proc/self/" + "y/" * 9,
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            cache = PlanCache(Path(folder))
            assert cache.get_or_build(KEY, lambda: MADE) == (MADE, True)
        assert "used from memory" in caplog.text
        assert (cache.newest_first(), cache.refusals()) == ([], [])
        # versions of Python differ in which folders they take for empty ones
        with contextlib.suppress(OutputError):
            assert list(cache.entries()) == []
            assert cache.clear() == 0


def test_without_a_home_directory_plans_are_used_from_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "RESTORA_PLANS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2_000_000)  # nobody in /etc/passwd
    cache = PlanCache()
    assert cache.folder is None
    with caplog.at_level(logging.WARNING):
        assert cache.get_or_build(KEY, lambda: MADE) == (MADE, True)
    assert "used from memory" in caplog.text
    assert "set RESTORA_PLANS" in caplog.text
    assert (list(cache.entries()), cache.newest_first(), cache.refusals()) == ([], [], [])
    assert cache.clear() == 0
    timing = TimingCacheFile(cache.folder, DEVICE)
    timing.store(b"measured")
    assert timing.load() == b""


def test_a_folder_of_a_user_who_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORA_PLANS", "~nobody_of_this_name/plans")
    with pytest.raises(OptionError, match="RESTORA_PLANS must be the path of a folder"):
        PlanCache()


def rewrite_facts(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / f"{KEY}.json"
    facts = change(json.loads(path.read_text()))
    path.write_bytes(facts if isinstance(facts, bytes) else json.dumps(facts).encode())


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"[" * 100_000,
        lambda facts: json.dumps(facts)[:-1].encode() + b', "x": ' + b"[" * 900 + b"]" * 900 + b"}",
        lambda facts: {**facts, "digest": "\u00e9" * 64},
        lambda facts: {**facts, "digest": "\ud800"},
        lambda facts: {**facts, "digest": None},
        lambda facts: {**facts, "digest": [1]},
        lambda facts: {**facts, "format": [1]},
        lambda facts: {**facts, "key": {}},
        lambda _: [],
        lambda _: 5,
        lambda _: None,
        lambda _: b"\xff\xfe",
        lambda _: b"",
        lambda _: b"1" * 10_000,
        lambda facts: {**facts, "long": "x" * (1 << 21)},
    ],
)
def test_facts_that_nobody_wrote_cost_a_warning_and_a_build(
    cache: PlanCache,
    folder: Path,
    change: Callable[[dict[str, Any]], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache.store(KEY, MADE)
    rewrite_facts(folder, change)
    with caplog.at_level(logging.WARNING):
        cache.newest_first()
        assert [(key, facts) for key, facts, problem in cache.entries() if problem] == [(KEY, {})]
        assert cache.get_or_build(KEY, lambda: MADE) == (MADE, True)
    assert "is not used and built again" in caplog.text
    assert cache.load(KEY) is not None


@pytest.mark.parametrize("suffix", [".json", ".plan"])
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(
    cache: PlanCache, folder: Path, suffix: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache.store(KEY, MADE)
    path = folder / f"{KEY}{suffix}"
    path.unlink()
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with caplog.at_level(logging.WARNING):
        made, built = cache.get_or_build(KEY, lambda: MADE)
    assert (made, built) == (MADE, True)
    assert "is not used and built again" in caplog.text


def test_a_refusal_is_kept_like_a_plan_and_does_not_pass_for_one(
    cache: PlanCache, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = Refusal("30 dB, 45 needed", {"model": "tiny"})
    assert cache.get_or_build(KEY, lambda: refusal) == (refusal, True)
    found, built = cache.get_or_build(KEY, lambda: MADE)
    assert isinstance(found, Refusal)
    assert (found.reason, found.facts["model"], built) == (refusal.reason, "tiny", False)
    assert [each.reason for each in cache.refusals()] == [refusal.reason]
    path = folder / f"{KEY}.refusal"
    (folder / f"{KEY}.plan").touch()
    shutil.copy(path, folder / f"{KEY}.json")
    assert cache.load(KEY) is None
    path.write_text(path.read_text().replace("30 dB", "20 dB"))
    with caplog.at_level(logging.WARNING):
        assert cache.load_refusal(KEY) is None
    assert ".refusal in " in caplog.text
    cache.clear()
    assert sorted(path.suffix for path in folder.iterdir()) == [".key", ".lock"]


def test_plans_that_cannot_be_deleted_are_an_output_error(
    cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store(KEY, MADE)
    refuse_writes(monkeypatch, "unlink", errno.EROFS)
    with pytest.raises(OutputError, match="cannot be written: Read-only file system"):
        cache.clear()


def build_slowly(folder: Path, log: Path) -> None:
    def build() -> CachedPlan:
        with log.open("a") as stream:
            stream.write("built\n")
        time.sleep(0.3)  # in which the others come and wait
        return MADE

    plan, _ = PlanCache(folder).get_or_build(KEY, build)
    assert isinstance(plan, CachedPlan)
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
        time.sleep(60)  # it is killed long before
        return MADE

    PlanCache(folder).get_or_build(KEY, build)


def test_without_filelock_plans_are_built_kept_and_warned_of(
    cache: PlanCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "filelock", None)
    assert cache.get_or_build(KEY, lambda: MADE)[1]
    assert "filelock is not installed" in caplog.text
    found, built = cache.get_or_build(KEY, lambda: MADE)
    assert not built
    assert isinstance(found, CachedPlan)
    assert found.plan == MADE.plan


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
