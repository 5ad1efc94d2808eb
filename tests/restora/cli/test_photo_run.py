"""Facts about a run's books and its progress, with a network that only repeats pixels."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import NearestSession, restorer_of
from restora.backends.base import Batch
from restora.cli import report
from restora.cli.photo_run import PhotoRun
from restora.errors import (
    DecoderProcessError,
    DeviceMemoryError,
    DiskFullError,
    OptionError,
    OutputError,
)
from restora.exit_codes import ExitCode, code_of_type
from restora.image import Photo, PhotoHeader, PhotoLimits, write_photo
from restora.image.isolated import probe_isolated
from restora.jobs.extras import Extras, FaceNames
from restora.jobs.journal import Journal
from restora.jobs.lock import OutputLocks, output_lock
from restora.jobs.outcome import Outcome
from restora.jobs.output import WriteOptions
from restora.jobs.plan import Job, Naming, measure, plan_jobs
from restora.jobs.run_journal import FILE, RunJournal


def photo(path: Path, size: tuple[int, int] = (10, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    write_photo(Photo(pixels), path)
    return path


def planned(folder: Path, *, overwrite: bool = False) -> PhotoRun:
    jobs = plan_jobs(folder / "in", folder / "out", Naming())
    (folder / "out").mkdir(exist_ok=True)
    return PhotoRun(
        jobs,
        root=folder / "in",
        manifest=folder / "out" / FILE,
        writing=WriteOptions(folder / "out"),
        outscale=None,
        aligned=False,
        limits=PhotoLimits(),
        memory=None,
        overwrite=overwrite,
        retry_failed=False,
        stop_at_error=False,
        json_lines=True,
    )


def rows_of(out: str) -> dict[str, dict[str, str]]:
    return {Path(row["input"]).name: row for row in map(json.loads, out.splitlines())}


def test_a_full_disk_at_the_manifest_ends_the_run_and_loses_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(8):
        photo(tmp_path / "in" / f"{index}.png")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if b'"status": "restored"' in bytes(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFullError, match=r"manifest.*No space left"):
        planned(tmp_path).run(lambda: restorer_of(NearestSession()))
    assert code_of_type("DiskFullError") == ExitCode.ENVIRONMENT
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == 8
    restored = {name for name, row in rows.items() if row["status"] == "restored"}
    assert restored
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == restored
    assert {row["error_type"] for row in rows.values() if row["status"] == "failed"} <= {
        "DiskFullError"
    }


@pytest.mark.parametrize("kind", [DeviceMemoryError, OutputError, DiskFullError, OptionError])
def test_what_is_no_fault_of_the_photo_is_tried_again(
    kind: type[Exception], tmp_path: Path
) -> None:
    source = photo(tmp_path / "in" / "a.png")
    job = Job(source, tmp_path / "out" / "a.png")
    with contextlib.closing(Journal(tmp_path / "out" / FILE)) as manifest:
        ledger = RunJournal(manifest, lambda _: "r", tmp_path / "in")
        ledger.begin(job)
        ledger.end(job, Outcome(str(source), "", "failed", "full", kind.__name__))
        past = manifest.record("a.png")
        assert past is not None
        assert (past.status, past.open) == (None, False)
        (again,) = ledger.settle([job], overwrite=False, retry_failed=False)
        assert again.is_left


def test_without_decoders_the_run_ends_and_no_photo_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> Photo:
        raise DecoderProcessError("no process can be started")

    for index in range(20):
        photo(tmp_path / "in" / f"{index}.png")
    monkeypatch.setattr("restora.jobs.photo_flow.read_isolated", fail)
    run = planned(tmp_path)
    assert run.run(lambda: restorer_of(NearestSession())) == ExitCode.ENVIRONMENT
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == 20
    assert {row["error_type"] for row in rows.values()} == {"DecoderProcessError"}
    assert any(row["reason"].startswith("not tried") for row in rows.values())
    monkeypatch.undo()
    assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.OK


def test_what_is_a_fault_of_the_photo_stays_failed(tmp_path: Path) -> None:
    source = photo(tmp_path / "in" / "a.png")
    job = Job(source, tmp_path / "out" / "a.png")
    with contextlib.closing(Journal(tmp_path / "out" / FILE)) as manifest:
        ledger = RunJournal(manifest, lambda _: "r", tmp_path / "in")
        ledger.begin(job)
        ledger.end(job, Outcome(str(source), "", "failed", "x" * 10**7, "TruncatedImageError"))
        (again,) = ledger.settle([job], overwrite=False, retry_failed=False)
        assert again.failure is not None
        assert again.failure.error_type == "TruncatedImageError"


def test_a_full_gpu_interrupts_a_photo_and_does_not_fail_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(NearestSession):
        def run(self, batch: Batch) -> Batch:
            raise DeviceMemoryError(f"no room for {batch.shape}")

    photo(tmp_path / "in" / "a.png")
    code = planned(tmp_path).run(lambda: restorer_of(Full()))
    assert code == ExitCode.ENVIRONMENT
    assert rows_of(capsys.readouterr().out)["a.png"]["error_type"] == "DeviceMemoryError"
    assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.OK


class During(NearestSession):
    """Does something while the first photo is in the network."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act: Callable[[], object] | None = act

    def run(self, batch: Batch) -> Batch:
        act, self.act = self.act, None
        if act is not None:
            act()
        return super().run(batch)


def test_a_result_is_locked_while_its_photo_is_worked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By any other run, also one that keeps no manifest or another one."""
    photo(tmp_path / "in" / "a.png")
    refused: list[Exception] = []

    def meet() -> None:
        try:
            with output_lock(tmp_path / "out" / "a.png"):
                pass
        except OptionError as error:
            refused.append(error)

    assert planned(tmp_path).run(lambda: restorer_of(During(meet))) == ExitCode.OK
    assert len(refused) == 1
    with output_lock(tmp_path / "out" / "a.png"):
        pass
    photo(tmp_path / "in" / "b.png")
    with output_lock(tmp_path / "out" / "b.png"):
        code = planned(tmp_path).run(lambda: restorer_of(NearestSession()))
    assert code == ExitCode.SOME_FAILED
    assert (
        "another run is writing"
        in rows_of(capsys.readouterr().out.splitlines()[-1])["b.png"]["reason"]
    )
    assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.OK


def test_locks_are_released_as_photos_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes a file descriptor, and a folder may hold any number of photos."""
    for index in range(40):
        photo(tmp_path / "in" / f"{index}.png")
    held: list[int] = []
    acquire = OutputLocks.acquire

    def count(locks: OutputLocks, target: Path) -> None:
        acquire(locks, target)
        held.append(len(locks._held))

    monkeypatch.setattr(OutputLocks, "acquire", count)
    assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.OK
    assert len(held) == 40
    assert max(held) < 40


def test_a_file_that_appears_during_the_run_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "in" / "a.png")
    run = replace(planned(tmp_path), manifest=None)
    theirs = photo(tmp_path / "out" / "a.png", (3, 3)).read_bytes()
    assert run.run(lambda: restorer_of(NearestSession())) != ExitCode.OK
    row = rows_of(capsys.readouterr().out)["a.png"]
    assert row["error_type"] == "OptionError"
    assert (tmp_path / "out" / "a.png").read_bytes() == theirs


@pytest.mark.parametrize("keeps_manifest", [True, False])
def test_partial_files_of_a_killed_run_are_removed_by_the_next(
    keeps_manifest: bool, tmp_path: Path
) -> None:
    source = photo(tmp_path / "in" / "a.png")
    run = planned(tmp_path)
    extras = Extras(tmp_path / "out" / "c.jpg", FaceNames(tmp_path / "out", Path(), "a"))
    run = replace(run, jobs=[replace(job, extras=extras) for job in run.jobs])
    if keeps_manifest:
        manifest = Journal(tmp_path / "out" / FILE)
        job = Job(source, tmp_path / "out" / "a.png")
        RunJournal(manifest, lambda _: "r", tmp_path / "in").begin(job)
        manifest._held.close()  # as a killed process leaves it
    else:
        run = replace(run, manifest=None)
    (tmp_path / "out" / "cmp").mkdir()
    for name in (".a.png", ".c.jpg", "cmp/.a_07.png"):
        (tmp_path / "out" / f"{name}.0123abcd.part").write_bytes(b"half")
    others = {".b.png.0123abcd.part", "cmp/.a_1_00.png.0123abcd.part", "cmp/.aa_00.png.part"}
    for other in others:
        (tmp_path / "out" / other).write_bytes(b"of another run")
    assert run.run(lambda: restorer_of(NearestSession())) == ExitCode.OK
    left = {
        path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("out/**/.*.part")
    }
    assert left == others


def test_a_touched_result_is_not_called_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "in" / "a.png")
    planned(tmp_path).run(lambda: restorer_of(NearestSession()))
    photo(tmp_path / "out" / "a.png", (3, 3))
    capsys.readouterr()
    planned(tmp_path).run(lambda: restorer_of(NearestSession()))
    assert "was changed since" in rows_of(capsys.readouterr().out)["a.png"]["reason"]


def test_a_lock_file_of_a_killed_run_is_removed_though_its_photo_is_done(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.SOME_FAILED
    locks = [tmp_path / "out" / f".{name}.png.lock" for name in "ab"]
    for lock in locks:
        lock.touch()  # as a killed process leaves it
    assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.SOME_FAILED
    assert [lock for lock in locks if lock.exists()] == []


def test_a_lock_file_that_another_run_holds_stays(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.OK
    with output_lock(tmp_path / "out" / "a.png"):
        assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.OK
        assert (tmp_path / "out" / ".a.png.lock").exists()


def test_no_parser_runs_in_this_process_and_a_header_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a header is parsed in this process")

    asked: list[str] = []

    def probe(path: Path, **options: PhotoLimits | None) -> PhotoHeader:
        asked.append(path.name)
        return probe_isolated(path, **options)

    photo(tmp_path / "in" / "a.png")
    for name in ("probe_file", "probe_photo"):
        monkeypatch.setattr(f"restora.image.probe.{name}", refuse)
    for module in ("plan", "memory"):
        monkeypatch.setattr(f"restora.jobs.{module}.probe_isolated", probe)
    assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.OK
    assert asked == ["a.png"]
    assert planned(tmp_path).run(lambda: restorer_of(NearestSession())) == ExitCode.OK
    assert asked == ["a.png"]


def test_a_header_of_a_file_that_was_replaced_counts_no_more(tmp_path: Path) -> None:
    source = photo(tmp_path / "in" / "a.png")
    job = measure(Job(source, tmp_path / "out" / "a.png"))
    assert job.known_header is not None
    assert job.pixels == 80
    photo(source, (30, 20))
    assert job.known_header is None


class Shares(report._Shares):
    def __init__(self, jobs: list[Job]) -> None:
        super().__init__(jobs)
        self.seen: list[float] = []

    def show(self, name: str, completed: float) -> None:
        self.seen.append(completed / self.weight)


def test_progress_counts_pixels_not_files(tmp_path: Path) -> None:
    small, large = (photo(tmp_path / "in" / f"{side}.png", (side, side)) for side in (10, 30))
    planned_jobs = plan_jobs(tmp_path / "in", tmp_path / "out", Naming())
    jobs = {job.source: measure(job) for job in planned_jobs}
    shares = Shares(list(jobs.values()))
    shares.end(jobs[small])
    shares.update(jobs[large], 1, 2)
    shares.end(jobs[large])
    assert shares.seen == [100 / 1000, 550 / 1000, 1]
    unknown = replace(jobs[small], header=None)  # it cannot be read
    shares = Shares([unknown])
    shares.end(unknown)
    assert shares.seen == [1]
