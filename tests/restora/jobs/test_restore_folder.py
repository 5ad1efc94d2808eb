"""Runs over a folder in this process, with a network that only repeats pixels."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import NearestSession, restorer_of
from photo_runs import Reports, photo
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
from restora.image import Photo, PhotoHeader, PhotoLimits
from restora.image.isolated import probe_all_isolated
from restora.jobs.disk import digest_of_file
from restora.jobs.file import restore_file
from restora.jobs.folder import restore_folder
from restora.jobs.journal import Journal
from restora.jobs.lock import OutputLocks, output_lock
from restora.jobs.options import RunOptions
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job, Naming, measure, plan_jobs
from restora.jobs.result import RunResult
from restora.jobs.run_journal import FILE, RunJournal
from restora.networks import OpenNetwork
from restora.pipeline import Restorer


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
        (again,) = ledger.resolve([job], overwrite=False, retry_failed=False)
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
        (again,) = ledger.resolve([job], overwrite=False, retry_failed=False)
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


def test_the_digest_of_an_input_is_recorded_unless_it_changed_meanwhile(tmp_path: Path) -> None:
    source = photo(tmp_path / "in" / "b.png")
    digest = digest_of_file(source)
    _, rows = restore(tmp_path)
    assert rows["b.png"].source_sha256 == digest
    replaced = photo(tmp_path / "in" / "a.png")
    restore(tmp_path, During(lambda: photo(replaced, (30, 20))))
    with contextlib.closing(Journal(tmp_path / "out" / FILE)) as journal:
        results = {name: journal.record(f"{name}.png") for name in "ab"}
    found = {name: r.result.source_sha256 for name, r in results.items() if r and r.result}
    assert found == {"a": None, "b": digest}
    with restorer_of(NearestSession()) as restorer:
        assert restore_file(source, tmp_path / "one.png", restorer).source_sha256 is None


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

    def probe(paths: list[Path], **options: PhotoLimits | None) -> list[PhotoHeader | None]:
        asked.extend(path.name for path in paths)
        return probe_all_isolated(paths, **options)

    photo(tmp_path / "in" / "a.png")
    for name in ("probe_file", "probe_photo"):
        monkeypatch.setattr(f"restora.image.probe.{name}", refuse)
    monkeypatch.setattr("restora.jobs.plan.probe_all_isolated", probe)
    monkeypatch.setattr("restora.jobs.memory.probe_isolated", refuse)
    assert restore(tmp_path)[0].complete
    assert asked == ["a.png"]
    assert restore(tmp_path)[0].complete
    assert asked == ["a.png"]


def test_networks_are_opened_only_if_something_is_left_to_do(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "words.txt").write_text("no picture")
    opened: list[int] = []

    def open_restorer() -> Restorer:
        opened.append(1)
        return restorer_of(NearestSession())

    result = restore_folder(tmp_path / "in", tmp_path / "out", open_restorer)
    assert [outcome.status for outcome in result.outcomes] == ["skipped"]
    assert (opened, result.stages, result.networks) == ([], {}, ())
    photo(tmp_path / "in" / "a.png")
    restore_folder(tmp_path / "in", tmp_path / "out", open_restorer)
    assert opened == [1]


def test_the_result_of_a_run_says_what_it_did(tmp_path: Path) -> None:
    for name in "abc":
        photo(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "in" / "words.txt").write_text("no picture")
    reports = Reports()
    with restorer_of(NearestSession()) as restorer:
        result = restore_folder(
            str(tmp_path / "in"), str(tmp_path / "out"), restorer, progress=reports
        )
        model = restorer.model
    assert result.counts == {"restored": 3, "failed": 1, "skipped": 1}
    assert [Path(outcome.input).name for outcome in result.failures] == ["bad.png"]
    assert (result.exit_code, result.complete, result.stopped) == (3, False, False)
    assert {name: stats.items for name, stats in result.stages.items()} == {
        "decode": 4, "restore": 3, "encode": 3,
    }  # fmt: skip
    assert 0 < result.restoring_s <= result.elapsed_s
    assert [network.info.model for network in result.networks] == [model]
    assert reports.begun == [(model,)]
    assert list(reports.outcomes.values()) == list(result.outcomes)
    assert {name for name, done, total in reports.parts if done == total} == {
        "a.png", "b.png", "c.png",
    }  # fmt: skip


def test_stop_leaves_the_rest_for_the_next_run(tmp_path: Path) -> None:
    for index in range(40):
        photo(tmp_path / "in" / f"{index}.png")
    reports = Reports()
    with restorer_of(NearestSession()) as restorer:
        result = restore_folder(
            tmp_path / "in",
            tmp_path / "out",
            restorer,
            progress=reports,
            stop=lambda: bool(reports.outcomes),
        )
    assert result.stopped
    assert not result.complete
    assert 0 < len(result.outcomes) < 40
    assert {outcome.status for outcome in result.outcomes} == {"restored"}
    last, _ = restore(tmp_path)
    assert last.counts == {"skipped": len(result.outcomes), "restored": 40 - len(result.outcomes)}


def test_on_error_stop_ends_the_run_and_every_input_has_an_outcome(tmp_path: Path) -> None:
    for index in range(30):
        photo(tmp_path / "in" / f"{index:02}.png")
    (tmp_path / "in" / "00.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result, rows = restore(tmp_path, on_error="stop")
    assert len(rows) == 30
    left = [name for name, row in rows.items() if "stopped at the first error" in str(row.reason)]
    assert left
    assert rows["00.png"].error_type == "TruncatedImageError"
    result, rows = restore(tmp_path)
    assert result.counts["failed"] == 1


def test_a_photo_alone_is_no_folder(tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png")
    with pytest.raises(OptionError, match="see restore_file"):
        restore_folder(source, tmp_path / "out", lambda: restorer_of(NearestSession()))
    assert not (tmp_path / "out").exists()


def test_what_a_callback_raises_ends_the_run_and_what_is_done_stays_done(tmp_path: Path) -> None:
    class Fails(Reports):
        def end(self, job: Job, outcome: Outcome) -> None:
            super().end(job, outcome)
            raise OSError("stdout is closed")

    for index in range(20):
        photo(tmp_path / "in" / f"{index}.png")
    reports = Fails()
    with (
        restorer_of(NearestSession()) as restorer,
        pytest.raises(OSError, match="stdout is closed"),
    ):
        restore_folder(tmp_path / "in", tmp_path / "out", restorer, progress=reports)
    assert len(reports.outcomes) == 1
    result, rows = restore(tmp_path)
    assert result.complete
    assert {rows[name].status for name in reports.outcomes} == {"skipped"}


class Shares(PhotoProgress):
    def __init__(self, jobs: list[Job]) -> None:
        super().__init__(jobs)
        self.seen: list[float] = []

    def show(self, name: str, completed: float) -> None:
        self.seen.append(completed / self.weight)


def test_progress_counts_pixels_not_files(tmp_path: Path) -> None:
    small, large = (photo(tmp_path / "in" / f"{side}.png", (side, side)) for side in (10, 30))
    planned_jobs = plan_jobs(tmp_path / "in", tmp_path / "out", Naming())
    jobs = {job.source: job for job in measure(planned_jobs)}
    shares = Shares(list(jobs.values()))
    shares.end(jobs[small])
    shares.update(jobs[large], 1, 2)
    shares.end(jobs[large])
    assert shares.seen == [100 / 1000, 550 / 1000, 1]
    unknown = replace(jobs[small], header=None)  # it cannot be read
    shares = Shares([unknown])
    shares.end(unknown)
    assert shares.seen == [1]
