"""Runs over a folder in this process, with a network that only repeats pixels."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import NearestSession, restorer_of
from restora.backends.base import Batch, Session
from restora.cli.progress import PhotoProgress
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
from restora.jobs.file import restore_file
from restora.jobs.folder import restore_folder
from restora.jobs.journal import Journal
from restora.jobs.lock import OutputLocks, output_lock
from restora.jobs.options import RunOptions
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job, Naming, measure, plan_jobs
from restora.jobs.progress import NoProgress
from restora.jobs.result import RunResult
from restora.jobs.run_journal import FILE, RunJournal
from restora.networks import OpenNetwork


def photo(path: Path, size: tuple[int, int] = (10, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    write_photo(Photo(pixels), path)
    return path


def restore(
    folder: Path, session: Session | None = None, **options: Any
) -> tuple[RunResult, dict[str, Outcome]]:
    """The result of a run from in/ to out/, and its outcomes by the names of their inputs."""
    result = restore_folder(
        folder / "in",
        folder / "out",
        lambda: restorer_of(session or NearestSession()),
        options=RunOptions(**options),
    )
    return result, {Path(outcome.input).name: outcome for outcome in result.outcomes}


class Reports(NoProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, ...]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.parts: list[tuple[str, int, int]] = []

    def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
        self.begun.append(tuple(network.info.model for network in networks))

    def update(self, job: Job, done: int, total: int) -> None:
        self.parts.append((job.source.name, done, total))

    def end(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.source.name] = outcome


def test_a_full_disk_at_the_manifest_ends_the_run_and_loses_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(8):
        photo(tmp_path / "in" / f"{index}.png")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if b'"status": "restored"' in bytes(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    reports = Reports()
    with (
        restorer_of(NearestSession()) as restorer,
        pytest.raises(DiskFullError, match=r"manifest.*No space left"),
    ):
        restore_folder(tmp_path / "in", tmp_path / "out", restorer, progress=reports)
    assert code_of_type("DiskFullError") == ExitCode.ENVIRONMENT
    rows = reports.outcomes
    assert len(rows) == 8
    restored = {name for name, row in rows.items() if row.status == "restored"}
    assert restored
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == restored
    assert {row.error_type for row in rows.values() if row.status == "failed"} <= {"DiskFullError"}


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Photo:
        raise DecoderProcessError("no process can be started")

    for index in range(20):
        photo(tmp_path / "in" / f"{index}.png")
    monkeypatch.setattr("restora.jobs.photo_flow.read_isolated", fail)
    result, rows = restore(tmp_path)
    assert result.exit_code == ExitCode.ENVIRONMENT
    assert len(rows) == 20
    assert {row.error_type for row in rows.values()} == {"DecoderProcessError"}
    assert any((row.reason or "").startswith("not tried") for row in rows.values())
    monkeypatch.undo()
    assert restore(tmp_path)[0].complete


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


def test_a_full_gpu_interrupts_a_photo_and_does_not_fail_it(tmp_path: Path) -> None:
    class Full(NearestSession):
        def run(self, batch: Batch) -> Batch:
            raise DeviceMemoryError(f"no room for {batch.shape}")

    photo(tmp_path / "in" / "a.png")
    result, rows = restore(tmp_path, Full())
    assert result.exit_code == ExitCode.ENVIRONMENT
    assert rows["a.png"].error_type == "DeviceMemoryError"
    assert restore(tmp_path)[0].complete


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


def test_a_result_is_locked_while_its_photo_is_worked_on(tmp_path: Path) -> None:
    """By any other run, also one that keeps no manifest or another one."""
    photo(tmp_path / "in" / "a.png")
    refused: list[Exception] = []

    def meet() -> None:
        try:
            with output_lock(tmp_path / "out" / "a.png"):
                pass
        except OptionError as error:
            refused.append(error)

    assert restore(tmp_path, During(meet))[0].complete
    assert len(refused) == 1
    with output_lock(tmp_path / "out" / "a.png"):
        pass
    photo(tmp_path / "in" / "b.png")
    with output_lock(tmp_path / "out" / "b.png"):
        result, rows = restore(tmp_path)
    assert result.exit_code == ExitCode.SOME_FAILED
    assert "another run is writing" in (rows["b.png"].reason or "")
    assert restore(tmp_path)[0].complete


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
    assert restore(tmp_path)[0].complete
    assert len(held) == 40
    assert max(held) < 40


def test_a_file_that_appears_during_the_run_is_not_replaced(tmp_path: Path) -> None:
    theirs: list[bytes] = []

    class Appears(Reports):
        def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
            theirs.append(photo(jobs[0].target, (3, 3)).read_bytes())

    source = photo(tmp_path / "in" / "a.png")
    with (
        restorer_of(NearestSession()) as restorer,
        pytest.raises(OptionError, match="written by another program"),
    ):
        restore_file(source, tmp_path / "out", restorer, progress=Appears())
    assert [(tmp_path / "out" / "a.png").read_bytes()] == theirs


@pytest.mark.parametrize("keeps_journal", [True, False])
def test_partial_files_of_a_killed_run_are_removed_by_the_next(
    keeps_journal: bool, tmp_path: Path
) -> None:
    source = photo(tmp_path / "in" / "a.png")
    out = tmp_path / "out"
    (out / "cmp").mkdir(parents=True)
    if keeps_journal:
        journal = Journal(out / FILE)
        RunJournal(journal, lambda _: "r", tmp_path / "in").begin(Job(source, out / "a.png"))
        journal._held.close()  # as a killed process leaves it
    for name in (".a.png", ".a_compare.jpg", "cmp/.a_07.png"):
        (out / f"{name}.0123abcd.part").write_bytes(b"half")
    others = {".b.png.0123abcd.part", "cmp/.a_1_00.png.0123abcd.part", "cmp/.aa_00.png.part"}
    for other in others:
        (out / other).write_bytes(b"of another run")
    if keeps_journal:
        assert restore(tmp_path, compare=True, save_faces=True)[0].complete
    else:
        options = RunOptions(compare=True, save_faces=True)
        with restorer_of(NearestSession()) as restorer:
            restore_file(source, out, restorer, options=options)
    assert {path.relative_to(out).as_posix() for path in out.rglob("**/.*.part")} == others


def test_a_touched_result_is_not_called_done(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    restore(tmp_path)
    photo(tmp_path / "out" / "a.png", (3, 3))
    _, rows = restore(tmp_path)
    assert "was changed since" in (rows["a.png"].reason or "")


def test_a_lock_file_of_a_killed_run_is_removed_though_its_photo_is_done(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert restore(tmp_path)[0].exit_code == ExitCode.SOME_FAILED
    locks = [tmp_path / "out" / f".{name}.png.lock" for name in "ab"]
    for lock in locks:
        lock.touch()  # as a killed process leaves it
    assert restore(tmp_path)[0].exit_code == ExitCode.SOME_FAILED
    assert [lock for lock in locks if lock.exists()] == []


def test_a_lock_file_that_another_run_holds_stays(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    assert restore(tmp_path)[0].complete
    with output_lock(tmp_path / "out" / "a.png"):
        assert restore(tmp_path)[0].complete
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
    assert restore(tmp_path)[0].complete
    assert asked == ["a.png"]
    assert restore(tmp_path)[0].complete
    assert asked == ["a.png"]


def test_a_header_of_a_file_that_was_replaced_counts_no_more(tmp_path: Path) -> None:
    source = photo(tmp_path / "in" / "a.png")
    job = measure(Job(source, tmp_path / "out" / "a.png"))
    assert job.known_header is not None
    assert job.pixels == 80
    photo(source, (30, 20))
    assert job.known_header is None


class Shares(PhotoProgress):
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
