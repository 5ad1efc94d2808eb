"""How jobs are handed to the processes of several devices, and what such a process does, without
starting one."""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from fakes import NearestSession, restorer_of
from photo_runs import photo
from restora.backends.base import Batch
from restora.jobs.blame import MAX_CRASHES
from restora.jobs.device_child import (
    DeviceSetup,
    Ended,
    Finished,
    Opened,
    Part,
    Ready,
    Stop,
    serve,
)
from restora.jobs.device_flow import DeviceFlow
from restora.jobs.inputs import Failure
from restora.jobs.journal import Journal
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.jobs.run_journal import RunJournal
from restora.pipeline import Restorer

NEVER = 10**6  # looks at `stop`


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restora.jobs.device_flow._LOOK_S", 0.001)


class Worker:
    """Stands for a process: its messages are given, what it is told is kept."""

    def __init__(self, device: str, messages: Sequence[object] = ()) -> None:
        self.device = device
        self.running: dict[Path, Job] = {}
        self.ready = False
        self.opened: Opened | None = Opened((), {}, 2, False)
        self.finished: Finished | None = None
        self.given: list[Job] = []
        self.told: list[object] = []
        self.connection, self._theirs = Pipe()
        self._messages = deque(messages)
        for _ in messages:
            self._theirs.send("one")

    @property
    def has_room(self) -> bool:
        return self.ready and not any(job.alone for job in self.running.values())

    def say(self, message: object) -> None:
        self._messages.append(message)
        self._theirs.send("one")

    def give(self, job: Job) -> None:
        self.ready = False
        self.given.append(job)
        self.running[job.source] = job

    def tell(self, message: object) -> None:
        self.told.append(message)
        if message is None:
            self.say(Finished({}, ()))

    def receive(self) -> object:
        self.connection.recv()
        message = self._messages.popleft()
        if isinstance(message, Finished):
            self.finished = message
        return message

    def kill(self) -> None:
        pass


def run(workers: Sequence[Worker], jobs: Sequence[Job], *, looks: int) -> list[Job]:
    """Run a flow until it has looked so often at `stop`; returns the jobs that ended."""
    left = iter(range(looks))
    flow = DeviceFlow(
        workers,  # type: ignore[arg-type]
        begin=lambda _job: None,
        retry=lambda tried: tried,
        progress=lambda *_: None,
    )
    return [job for job, _ in flow.iter_outcomes(jobs, stop=lambda: next(left, None) is None)]


def jobs_of(count: int) -> list[Job]:
    return [Job(Path(f"{index}.png"), Path(f"out/{index}.png")) for index in range(count)]


def ended(job: Job) -> Ended:
    return Ended(job.source, Outcome(str(job.source), str(job.target), "restored"))


def test_a_device_that_asks_first_gets_no_more_than_its_share() -> None:
    greedy, late, later = Worker("gpu:0", [Ready()] * 9), Worker("gpu:1"), Worker("gpu:2")
    run([greedy, late, later], jobs_of(6), looks=20)
    assert len(greedy.given) == 2
    assert not late.given


def test_a_device_that_works_on_gets_what_another_does_not_take() -> None:
    jobs = jobs_of(6)
    slow, fast = Worker("gpu:0"), Worker("gpu:1")
    for job in jobs:
        fast.say(Ready())
        fast.say(ended(job))
    assert run([slow, fast], jobs, looks=40) == jobs


def test_a_suspect_is_given_to_a_device_with_nothing_else_and_nothing_is_given_beside_it() -> None:
    first, suspect, after = jobs_of(3)
    suspect, after = replace(suspect, alone=True), replace(after, alone=True)
    busy = Worker("gpu:0", [Ready(), Ready()])
    run([busy], [first, suspect, after], looks=10)
    assert busy.given == [first]
    free = Worker("gpu:0", [Ready(), Ready()])
    run([free], [suspect, after], looks=10)
    assert free.given == [suspect]


def test_stop_is_told_to_every_device() -> None:
    workers = [Worker("gpu:0", [Ready()]), Worker("gpu:1", [Ready()])]
    run(workers, jobs_of(4), looks=4)
    assert [worker.told for worker in workers] == [[Stop(), None]] * 2
    done = Worker("gpu:0", [Ready()])
    (job,) = jobs_of(1)
    done.say(ended(job))
    assert run([done], [job], looks=NEVER) == [job]
    assert done.told == [None]


def test_a_result_that_a_dead_process_wrote_and_did_not_report_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done, bad, again = jobs_of(3)
    dies = Worker("gpu:0", [Ready(), None])
    after = Worker("gpu:0", [Ready(), ended(again)])
    monkeypatch.setattr("restora.jobs.device_flow.replace_worker", lambda _worker, _crashes: after)
    decided = [replace(done, skip="already done"), replace(bad, failure=Failure("E", "why")), again]
    flow = DeviceFlow(
        [dies],  # type: ignore[list-item]
        begin=lambda _job: None,
        retry=lambda _tried: decided,
        progress=lambda *_: None,
    )
    found = {job.source: outcome for job, outcome in flow.iter_outcomes([done])}
    assert [found[job.source].status for job in (done, bad, again)] == [
        "restored", "failed", "restored",
    ]  # fmt: skip
    assert {outcome.device for outcome in found.values()} == {"gpu:0", None}


_at, _go = threading.Event(), threading.Event()
_open_ends: list[Any] = []  # a process ends when its pipe is closed, and this one must not


class _Waits(NearestSession):
    def run(self, batch: Batch) -> Batch:
        _at.set()
        assert _go.wait(30)
        return super().run(batch)


def open_waiting(*, device: str) -> Restorer:
    assert device == "gpu:1"
    return restorer_of(_Waits())


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Both ends of a pipe to the child's code, which runs in a thread."""
    monkeypatch.setattr("restora.jobs.device_child.logging.basicConfig", lambda **_: None)
    _at.clear()
    _go.clear()
    ours, theirs = Pipe()
    _open_ends.append(ours)
    thread = threading.Thread(target=serve, args=(theirs,), daemon=True)
    thread.start()
    yield ours, theirs
    _go.set()
    thread.join(30)


def test_a_process_that_is_told_to_stop_finishes_what_is_in_its_network_alone(
    child: Any, tmp_path: Path
) -> None:
    jobs = [Job(photo(tmp_path / f"{n}.png"), tmp_path / "out" / f"{n}.png") for n in range(5)]
    ours, theirs = child
    ours.send_bytes(pickle.dumps(DeviceSetup("gpu:1", pickle.dumps(open_waiting))))
    assert isinstance(ours.recv(), Opened)
    for job in jobs:
        assert isinstance(ours.recv(), Ready)
        ours.send(job)
    assert _at.wait(30)
    ours.send(Stop())
    ours.send(None)
    while theirs.poll():  # once it has read the second one, it has acted on the first
        time.sleep(0.001)
    _go.set()
    messages = []
    while not isinstance(message := ours.recv(), Finished):
        messages.append(message)
    names = [message.source.name for message in messages if isinstance(message, Ended)]
    assert 0 < len(names) < 5
    assert {m.source.name for m in messages if isinstance(m, Part) and m.done == m.total} <= {
        *names
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_photo_that_crashes_its_process_again_and_again_is_set_aside_whatever_the_flags(
    overwrite: bool, tmp_path: Path
) -> None:
    job = Job(photo(tmp_path / "a.png"), tmp_path / "out" / "a.png")
    with contextlib.closing(Journal(tmp_path / "out" / "m.jsonl")) as journal:
        run_journal = RunJournal(journal, lambda _: "r", tmp_path)
        for crashes in range(1, MAX_CRASHES + 1):
            run_journal.begin(job)
            (again,) = run_journal.retry([job], overwrite=overwrite)
            assert again.is_left == (crashes < MAX_CRASHES)
            assert again.alone == again.is_left
    assert again.failure is not None
    assert again.failure.error_type == "Quarantined"
