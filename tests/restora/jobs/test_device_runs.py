"""Runs over several devices: one process for each, one queue, one journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

import device_fakes
from device_fakes import CURSE, POISON, opener, photo_of
from photo_runs import Reports
from restora.backends.driver import Driver
from restora.errors import DeviceLostError, MissingBackendError, OptionError, SessionError
from restora.exit_codes import ExitCode
from restora.jobs.disk import digest_of_file
from restora.jobs.folder import restore_folder
from restora.jobs.options import RunOptions
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.jobs.result import RunResult
from restora.pipeline import Restorer

THREE = ("gpu:0", "gpu:1", "gpu:2")


@pytest.fixture(autouse=True)
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restora.jobs.devices.require_driver", lambda: Driver((12, 4), 3))


def restore(
    folder: Path,
    open_restorer: Callable[..., Restorer] | Restorer | None = None,
    *,
    progress: Reports | None = None,
    stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> tuple[RunResult, dict[str, Outcome]]:
    """The result of a run from in/ to out/ on three devices, and outcomes by names of inputs."""
    result = restore_folder(
        folder / "in",
        folder / "out",
        open_restorer or opener(folder),
        options=RunOptions(**{"devices": "all", **options}),
        progress=progress,
        stop=stop,
    )
    return result, {Path(outcome.input).name: outcome for outcome in result.outcomes}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "out" / ".restora" / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_each_device_gets_its_share_and_results_are_those_of_one(tmp_path: Path) -> None:
    """No device goes on before all three are at a photo: one that took the whole queue, as each has
    room for, would wait for ever."""
    for index in range(6):
        photo_of(tmp_path / "in" / f"{index}.png", 20 * index)
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    reports = Reports()
    result, rows = restore(tmp_path, opener(tmp_path, wait_for=3), progress=reports)
    assert result.counts == {"restored": 6, "failed": 1}
    assert result.exit_code == ExitCode.SOME_FAILED
    assert rows["bad.png"].error_type == "TruncatedImageError"
    assert {row.device for row in rows.values()} == set(THREE)
    assert result.stages["encode"].items == 6
    assert len(result.networks) == 3
    assert len(reports.begun) == 1
    assert {name for name, done, total in reports.parts if done == total} == {
        f"{index}.png" for index in range(6)
    }
    ends = {row["input"]: row["status"] for row in rows_of(tmp_path) if row["event"] == "end"}
    assert ends == {**{f"{index}.png": "restored" for index in range(6)}, "bad.png": "failed"}
    alone = restore_folder(
        tmp_path / "in", tmp_path / "one", partial(opener(tmp_path), device="gpu:0")
    )
    assert alone.counts == result.counts
    for index in range(6):
        made = [digest_of_file(tmp_path / name / f"{index}.png") for name in ("out", "one")]
        assert made[0] == made[1]
    again, _ = restore(tmp_path, opener(tmp_path))
    assert again.counts == {"skipped": 6, "failed": 1}


def test_a_lost_device_costs_no_photo_and_the_rest_finish(tmp_path: Path) -> None:
    for index in range(6):
        photo_of(tmp_path / "in" / f"{index}.png")
    result, rows = restore(tmp_path, opener(tmp_path, wait_for=3, lost=("gpu:1",)))
    assert result.complete
    assert len(rows) == 6
    assert {row.device for row in rows.values()} == {"gpu:0", "gpu:2"}
    killed = [row for row in rows_of(tmp_path) if row["event"] == "killed"]
    assert len(killed) == 1
    assert killed[0]["inputs"]
    assert restore(tmp_path)[0].counts == {"skipped": 6}


@pytest.mark.slow
def test_if_every_device_is_lost_the_run_ends_as_with_one(tmp_path: Path) -> None:
    for index in range(6):
        photo_of(tmp_path / "in" / f"{index}.png")
    result, rows = restore(tmp_path, opener(tmp_path, wait_for=3, lost=THREE))
    assert result.exit_code == ExitCode.ENVIRONMENT
    assert len(rows) == 6
    assert {row.error_type for row in rows.values()} == {DeviceLostError.__name__}
    assert restore(tmp_path)[0].complete


@pytest.mark.slow
def test_a_photo_that_loses_devices_is_tried_on_the_last_one_and_blamed_by_the_crash_rules(
    tmp_path: Path,
) -> None:
    photo_of(tmp_path / "in" / "cursed.png", CURSE)
    result, rows = restore(tmp_path, opener(tmp_path, cursed=True))
    assert result.exit_code == ExitCode.ENVIRONMENT
    assert rows["cursed.png"].error_type == DeviceLostError.__name__
    killed = [row["inputs"] for row in rows_of(tmp_path) if row["event"] == "killed"]
    assert killed == [["cursed.png"], ["cursed.png"]]  # the last device counts against itself


@pytest.mark.slow
def test_a_photo_that_kills_its_process_is_set_aside_after_the_third_time(tmp_path: Path) -> None:
    for index in range(4):
        photo_of(tmp_path / "in" / f"{index}.png")
    photo_of(tmp_path / "in" / "poison.png", POISON)
    result, rows = restore(tmp_path, devices=("gpu:0", "gpu:2"))
    assert result.counts == {"restored": 4, "failed": 1}
    assert rows["poison.png"].error_type == "Quarantined"
    # once beside others, perhaps, and three times alone
    assert len((tmp_path / "kills").read_text()) in (3, 4)
    again, rows = restore(tmp_path)
    assert again.counts == {"skipped": 4, "failed": 1}
    assert "processes crashed while it was restored" in (rows["poison.png"].reason or "")


@pytest.mark.slow
def test_stop_finishes_what_is_in_flight_on_every_device(tmp_path: Path) -> None:
    for index in range(40):
        photo_of(tmp_path / "in" / f"{index:02}.png")
    reports = Reports()
    result, rows = restore(
        tmp_path,
        opener(tmp_path, wait_for=3),
        progress=reports,
        stop=lambda: bool(reports.outcomes),
    )
    assert result.stopped
    assert 0 < len(rows) < 40
    assert {row.status for row in rows.values()} == {"restored"}
    assert not list((tmp_path / "out").glob(".*.part"))
    rest, _ = restore(tmp_path)
    assert rest.counts == {"skipped": len(rows), "restored": 40 - len(rows)}


def test_the_tensorrt_session_restores_on_three_gpus_and_survives_the_loss_of_one(
    tmp_path: Path,
) -> None:
    """On doubles, each of them in its process."""
    for index in range(4):
        photo_of(tmp_path / "in" / f"{index}.png", 20 * index)
    restorer = partial(device_fakes.open_on_doubles, tmp_path / "cache", lost="gpu:1")
    result, rows = restore(tmp_path, restorer)
    assert result.complete
    assert {row.device for row in rows.values()} <= {"gpu:0", "gpu:2"}
    assert {network.backend for network in result.networks} == {"given"}


def test_a_device_that_cannot_be_opened_ends_the_run_before_any_photo(tmp_path: Path) -> None:
    photo_of(tmp_path / "in" / "a.png")
    with pytest.raises(MissingBackendError, match="gpu:1: CUDA does not start there"):
        restore(tmp_path, partial(device_fakes.open_none, tmp_path))
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.slow
def test_processes_that_die_before_a_photo_end_the_run(tmp_path: Path) -> None:
    photo_of(tmp_path / "in" / "a.png")
    with pytest.raises(SessionError, match=r"gpu:[02]: 3 processes died before they began"):
        restore(tmp_path, partial(device_fakes.die, tmp_path), devices=("gpu:0", "gpu:2"))


def test_devices_that_would_give_different_results_are_refused(tmp_path: Path) -> None:
    photo_of(tmp_path / "in" / "a.png")
    with pytest.raises(SessionError, match="gpu:0 and gpu:1 would give different results"):
        restore(tmp_path, partial(device_fakes.open_another_scale, tmp_path))


def test_a_gpu_that_is_not_there_is_an_error_that_lists_those_that_are(tmp_path: Path) -> None:
    photo_of(tmp_path / "in" / "a.png")
    with pytest.raises(MissingBackendError, match="no gpu:7: it has gpu:0, gpu:1, gpu:2"):
        restore(tmp_path, devices=("gpu:0", "gpu:7"))


def test_a_single_device_needs_no_process_of_its_own(tmp_path: Path) -> None:
    photo_of(tmp_path / "in" / "a.png")
    opened: list[str] = []

    def open_here(*, device: str) -> Restorer:
        opened.append(device)
        return device_fakes.open_nearest(tmp_path, device=device)

    assert restore(tmp_path, open_here, devices=("gpu:2",))[0].complete
    assert opened == ["gpu:2"]


@pytest.mark.slow
def test_memory_is_divided_among_the_devices(tmp_path: Path) -> None:
    photo_of(tmp_path / "in" / "a.png")
    with pytest.raises(OptionError, match="must leave room for a process on each device"):
        restore(tmp_path, memory=1 << 20)
    # enough for one process, and not for three
    with pytest.raises(OptionError, match=r"gpu:\d: --memory must leave room beside the networks"):
        restore(tmp_path, memory=2 << 30)
    assert restore(tmp_path, memory=16 << 30)[0].complete


@pytest.mark.parametrize(
    "restorer", [lambda *, device: device, device_fakes.open_nearest(Path(), device="gpu:0")]
)
def test_what_cannot_be_opened_in_another_process_is_refused(restorer: Any, tmp_path: Path) -> None:
    photo_of(tmp_path / "in" / "a.png")
    with pytest.raises(OptionError, match=r"can be pickled, such as functools\.partial"):
        restore(tmp_path, restorer)


@pytest.mark.slow
def test_what_a_callback_raises_ends_the_processes(tmp_path: Path) -> None:
    class Fails(Reports):
        def end(self, job: Job, outcome: Outcome) -> None:
            super().end(job, outcome)
            raise OSError("stdout is closed")

    for index in range(6):
        photo_of(tmp_path / "in" / f"{index}.png")
    reports = Fails()
    with pytest.raises(OSError, match="stdout is closed"):
        restore(tmp_path, progress=reports)
    assert len(reports.outcomes) == 1
    result, rows = restore(tmp_path)
    assert result.complete
    assert {rows[name].status for name in reports.outcomes} == {"skipped"}


_PROGRAM = """
import sys
from pathlib import Path
import device_fakes, restora.jobs.devices
from restora.backends.driver import Driver
from restora.jobs.folder import restore_folder
from restora.jobs.options import RunOptions
from restora.jobs.progress import NoProgress

class Tells(NoProgress):
    def end(self, job, outcome):
        print(outcome.status, flush=True)

restora.jobs.devices.require_driver = lambda: Driver((12, 4), 3)
folder = Path(sys.argv[1])
options = RunOptions(devices="all")
opener = device_fakes.opener(folder)
restore_folder(folder / "in", folder / "out", opener, options=options, progress=Tells())
"""


@pytest.mark.slow
def test_a_run_that_is_killed_continues_and_its_processes_end(tmp_path: Path) -> None:
    """At any moment: the processes are anywhere in their photos."""
    for index in range(120):
        photo_of(tmp_path / "in" / f"{index:03}.png", index)
    for results in (1, 25):
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        )
        assert process.stdout is not None
        restored = 0
        for line in process.stdout:
            restored += line == "restored\n"
            if restored == results:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        psutil.wait_procs(children, timeout=30)
        assert not any(child.is_running() for child in children)
    result, _ = restore(tmp_path)
    assert result.complete
    assert result.counts["skipped"] >= 26
    ends = Counter(row["input"] for row in rows_of(tmp_path) if row.get("status") == "restored")
    assert len(ends) == 120
    assert set(ends.values()) == {1}
    assert not list((tmp_path / "out").glob(".*.part"))
