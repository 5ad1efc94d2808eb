"""Journals of a cluster's workers: what a run takes over from processes that were killed."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from photo_runs import photo
from restora.cluster.attempts import WorkerJournal, iter_journals, read_attempts
from restora.cluster.old_attempts import iter_old_attempts
from restora.cluster.rows import Row, failed_row, row_of
from restora.jobs.blame import MAX_CRASHES
from restora.jobs.disk import digest_of_file, fingerprint
from restora.jobs.journal import Journal
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.jobs.run_journal import RunJournal

RECIPES = {"png": "r"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out" / ".restora" / "attempts"


def job_of(tmp_path: Path, name: str) -> Job:
    return Job(photo(tmp_path / "in" / f"{name}.png"), tmp_path / "out" / f"{name}.png")


def begin(worker: WorkerJournal, *jobs: Job) -> None:
    for job in jobs:
        worker.begin(str(job.source), str(job.target))


def restored(job: Job) -> Row:
    """The row of a result, which is written."""
    photo(job.target)
    outcome = Outcome(
        str(job.source), str(job.target), "restored", output_size=(10, 8),
        sha256=digest_of_file(job.target), seconds=0.5,
    )  # fmt: skip
    return row_of(str(job.source), str(job.target), outcome)


def take_over(folder: Path, jobs: list[Job], tmp_path: Path) -> list[Job]:
    """As the next run takes it over, the process at work dies after that, and one more runs."""
    by_input = {str(job.source): job for job in jobs}
    for _ in range(2):
        with contextlib.closing(Journal(tmp_path / "out" / "m.jsonl")) as journal:
            run = RunJournal(journal, lambda _: "r", tmp_path / "in")
            run.import_rows(iter_journals(folder), by_input)
            decided = list(run.resolve(jobs, overwrite=False, retry_failed=False))
    return decided


def test_what_a_worker_finished_is_done_and_what_it_was_at_is_tried_alone(
    folder: Path, tmp_path: Path
) -> None:
    done, bad, open_, other, fresh = (job_of(tmp_path, name) for name in "abcde")
    worker = WorkerJournal(folder, RECIPES)
    begin(worker, done, bad, open_, other)
    worker.end(restored(done))
    worker.end(failed_row(str(bad.source), str(bad.target), "TruncatedImageError", "cut"))
    jobs = take_over(folder, [done, bad, open_, other, fresh], tmp_path)
    assert jobs[0].skip == "already done"
    assert jobs[1].failure is not None
    assert jobs[1].failure.error_type == "TruncatedImageError"
    assert [(job.is_left, job.alone, job.crashes) for job in jobs[2:]] == [
        (True, True, 0), (True, True, 0), (True, False, 0),
    ]  # fmt: skip


def test_a_result_that_was_written_and_not_recorded_is_done(folder: Path, tmp_path: Path) -> None:
    job = job_of(tmp_path, "a")
    begin(WorkerJournal(folder, RECIPES), job)
    photo(job.target)
    (found,) = take_over(folder, [job], tmp_path)
    assert found.skip == "already done"


@pytest.mark.parametrize("where", ["in one worker", "in as many workers"])
def test_crashes_of_a_photo_are_counted_over_all_workers_and_runs(
    where: str, folder: Path, tmp_path: Path
) -> None:
    job, beside = job_of(tmp_path, "a"), job_of(tmp_path, "b")
    worker = WorkerJournal(folder, RECIPES)
    begin(worker, job, beside)
    worker.crashed([str(job.source), str(beside.source)])
    for _ in range(MAX_CRASHES):
        if where != "in one worker":
            worker = WorkerJournal(folder, RECIPES)
        begin(worker, job)
        if where == "in one worker":
            worker.crashed([str(job.source)])
    found = read_attempts(folder)
    assert found.blame.crashes == {str(job.source): MAX_CRASHES}
    assert found.blame.suspects == {str(job.source), str(beside.source)}
    killer, suspect = take_over(folder, [job, beside], tmp_path)
    assert killer.failure is not None
    assert killer.failure.error_type == "Quarantined"
    assert (suspect.is_left, suspect.crashes) == (True, 0)


def test_whatever_the_order_of_workers_a_photo_that_one_finished_is_done(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(("1", "3", "2"))
    monkeypatch.setattr(
        "restora.cluster.attempts.uuid.uuid4", lambda: type("Id", (), {"hex": next(names)})
    )
    job, beside = job_of(tmp_path, "a"), job_of(tmp_path, "b")
    for _ in range(2):
        begin(WorkerJournal(folder, RECIPES), job, beside)  # and dies
    last = WorkerJournal(folder, RECIPES)
    begin(last, job)
    last.end(restored(job))
    done, suspect = take_over(folder, [job, beside], tmp_path)
    assert done.skip == "already done"
    # it was never open alone, though nothing is left of what was beside it
    assert (suspect.is_left, suspect.alone, suspect.crashes) == (True, True, 0)


def test_what_the_run_knows_is_not_taken_over_again(folder: Path, tmp_path: Path) -> None:
    job = job_of(tmp_path, "a")
    worker = WorkerJournal(folder, RECIPES)
    begin(worker, job)
    worker.end(restored(job))
    take_over(folder, [job], tmp_path)
    lines = (tmp_path / "out" / "m.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["begin", "end"]
    assert '"row"' not in "".join(lines)


def test_a_worker_that_ends_in_order_blames_nothing(folder: Path, tmp_path: Path) -> None:
    job = job_of(tmp_path, "a")
    worker = WorkerJournal(folder, RECIPES)
    begin(worker, job)
    worker.close()
    assert not read_attempts(folder).blame.suspects
    (found,) = take_over(folder, [job], tmp_path)
    assert (found.is_left, found.alone) == (True, False)


def test_rows_of_other_workers_are_read_and_damaged_lines_left_out(
    folder: Path, tmp_path: Path
) -> None:
    job, open_ = job_of(tmp_path, "a"), job_of(tmp_path, "b")
    row = restored(job)
    worker = WorkerJournal(folder, RECIPES)
    begin(worker, job, open_)
    worker.end(row)
    (path,) = folder.glob("*.jsonl")
    end: dict[str, Any] = {"event": "end", "input": "x.png", "status": "restored"}
    rows: list[Any] = [
        [], 5, {}, {"event": "end"}, {"event": "begin", "input": 5}, end,
        {**end, "row": []}, {**end, "row": {**row, "width": "x"}}, {**end, "row": {"status": []}},
        {**end, "status": "eaten", "row": row},
    ]  # fmt: skip
    lines = ["[" * 100_000, *map(json.dumps, rows), "torn"]
    with path.open("a") as stream:
        stream.write("\n".join(lines))
    found = read_attempts(folder)
    assert found.rows == {str(job.source): row}
    assert found.blame.crashes == {str(open_.source): 1}


def test_logs_of_the_version_before_are_read(folder: Path, tmp_path: Path) -> None:
    done, begun = job_of(tmp_path, "a"), job_of(tmp_path, "b")
    row = restored(done)
    stamp = fingerprint(done.source)
    (folder / "hash").mkdir(parents=True)
    rows: list[Any] = [
        {"event": "begin", "input": str(done.source), "stamp": stamp},
        {"event": "begin", "input": str(begun.source), "stamp": stamp}, {"event": "crashed"},
        {"event": "end", **row}, {"event": "end", **row, "input": "never begun"}, 5, [],
        {"event": "begin", "input": "x", "stamp": [1.5, "y"]},
    ]  # fmt: skip
    (folder / "hash" / "1.jsonl").write_text("\n".join([*map(json.dumps, rows), "torn"]))
    (found,) = iter_old_attempts(folder)
    assert (found.row, found.recipe, found.stamp) == (row, "hash", stamp)
