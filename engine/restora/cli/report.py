"""What `restora restore` prints while it works and when it is done."""

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from restora.cli.console import print_error, print_json, print_note, stderr_console
from restora.jobs.batch import RunProgress
from restora.jobs.outcome import Outcome, Status
from restora.jobs.photo_flow import Stages
from restora.jobs.plan import Job
from restora.pipeline import Restorer

_LOG_EVERY_S = 10.0
_MOST_NAMED = 10


def report_plan(jobs: list[Job], json_lines: bool) -> None:
    for job in jobs:
        status: Status = "skipped" if job.skip else "failed" if job.failure else "planned"
        reason = job.failure.reason if job.failure else job.skip
        if reason is None and job.found is not None:
            reason = "a file with this name exists"
        outcome = Outcome(str(job.source), str(job.target), status, reason)
        if json_lines:
            print_json(outcome.as_row())
        else:
            print_note(f"{job.source} -> {job.target}" + (f"  ({reason})" if reason else ""))


def report_beginning(restorer: Restorer, jobs: list[Job]) -> None:
    """What the networks run on, and how many results are replaced, and why."""
    for line in restorer.describe_sessions():
        print_note(line)
    for words, count in Counter(job.note for job in jobs if job.note).items():
        print_note(f"{count} made again: {words}")


def report_outcome(outcome: Outcome, json_lines: bool, *, single: bool) -> None:
    if json_lines:
        print_json(outcome.as_row())
    if outcome.status == "failed":
        reason = outcome.reason or ""
        print_error(reason if outcome.input in reason else f"{outcome.input}: {reason}")
    elif outcome.status == "skipped":
        print_note(f"{outcome.input}: skipped, {outcome.reason}")
    elif single and outcome.output_size:
        width, height = outcome.output_size
        faces = "" if outcome.faces is None else f", {_count_faces(outcome)}"
        print_note(f"{outcome.output}: {width} x {height}{faces}, {outcome.seconds:.1f} s")
    if outcome.status == "restored" and not outcome.complete:
        print_error(f"{outcome.input}: {_describe_face_failures(outcome)}")


def _count_faces(outcome: Outcome) -> str:
    counts = Counter(str(face["status"]) for face in outcome.faces or ())
    parts = [f"{counts[s]} {s}" for s in ("restored", "skipped", "failed") if counts[s]]
    return f"faces: {', '.join(parts) or 'none found'}"


def _describe_face_failures(outcome: Outcome) -> str:
    if outcome.face_error is not None:
        return f"no face was restored: {outcome.face_error}"
    failed = [str(face["reason"]) for face in outcome.faces or () if face["status"] == "failed"]
    return f"{len(failed)} faces are left as the upsampler made them: {'; '.join(failed)}"


def summarize(outcomes: list[Outcome], elapsed_s: float, json_lines: bool) -> None:
    """How many files ended how, and which failed: above they may have scrolled away."""
    if len(outcomes) < 2 or json_lines:
        return
    failures = sorted(outcome.input for outcome in outcomes if outcome.status == "failed")
    if failures:
        print_note("failed:")
    for name in failures[:_MOST_NAMED]:
        print_note(f"  {name}")
    if len(failures) > _MOST_NAMED:
        print_note(f"  and {len(failures) - _MOST_NAMED} more")
    counts = Counter(outcome.status for outcome in outcomes)
    parts = [f"{counts[s]} {s}" for s in ("restored", "skipped", "failed") if counts[s]]
    print_note(f"{', '.join(parts)} in {elapsed_s:.1f} s")


def report_speed(
    restorer: Restorer, stages: Stages, elapsed_s: float, things: str = "photos"
) -> None:
    """Photos or frames a second, the share of the time in which each stage was at work, and how
    full the batches were, if there were any."""
    count = stages.encode.use.items
    if count < 2:
        return
    shares = [
        f"{stage.name} {stage.use.busy_s / elapsed_s:.0%}"
        for stage in (stages.decode, stages.restore, stages.encode)
    ]
    print_note(f"{count / elapsed_s:.2f} {things}/s; at work: {', '.join(shares)}")
    for info, use in restorer.session_stats():
        if use.pictures > use.calls:
            noun = "faces" if info.kind == "face" else "tiles"
            print_note(f"{info.model}: {use.pictures / use.calls:.1f} {noun} a call")


@contextmanager
def progress_bar(jobs: Sequence[Job]) -> Iterator[RunProgress]:
    """A bar by pixels on a terminal, a line every ten seconds elsewhere."""
    console = stderr_console()
    if not console.is_terminal:
        yield _Lines(jobs)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, jobs)


@contextmanager
def frame_progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar by frames, with frames a second and the time that is left; a line every ten seconds
    where there is no terminal."""
    console = stderr_console()
    started = time.monotonic()
    first: list[int] = []

    def speed(done: int) -> str:
        first.append(done - 1) if not first else None
        return f"{(done - first[0]) / max(1e-6, time.monotonic() - started):.2f} fps"

    if not console.is_terminal:
        last = started

        def log(done: int, total: int | None) -> None:
            nonlocal last
            words = speed(done)
            if time.monotonic() - last >= _LOG_EVERY_S:
                last = time.monotonic()
                print_note(f"{name}: frame {done} of {total or '?'}, {words}")

        yield log
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def update(done: int, total: int | None) -> None:
            words = f"{name} {done}/{total or '?'} {speed(done)}"
            bar.update(task, description=words, completed=done, total=total)

        yield update


class _Shares(ABC):
    """How much of a run is done, by pixels of the inputs: a large photo takes longer."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.files = len(jobs)
        self.weight = sum(map(_weigh, jobs))
        self.ended = 0
        self._done = 0
        self._lock = threading.Lock()
        self._parts: dict[Path, float] = {}

    def update(self, job: Job, done: int, total: int) -> None:
        with self._lock:
            self._parts[job.source] = _weigh(job) * done / max(1, total)
            self.show(job.source.name, self._done + sum(self._parts.values()))

    def end(self, job: Job) -> None:
        with self._lock:
            self.ended += 1
            self._done += _weigh(job)
            self._parts.pop(job.source, None)
            self.show(job.source.name, self._done + sum(self._parts.values()))

    @abstractmethod
    def show(self, name: str, completed: float) -> None:
        """completed: of self.weight, with parts of photos that are worked on."""


def _weigh(job: Job) -> int:
    return max(1, job.pixels)


class _Bar(_Shares):
    def __init__(self, bar: Progress, jobs: Sequence[Job]) -> None:
        super().__init__(jobs)
        self._bar = bar
        self._task = bar.add_task("", total=self.weight)

    def show(self, name: str, completed: float) -> None:
        count = f"{min(self.ended + 1, self.files)}/{self.files} " if self.files > 1 else ""
        self._bar.update(self._task, description=f"{count}{name}", completed=completed)


class _Lines(_Shares):
    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__(jobs)
        self._last = time.monotonic()

    def show(self, name: str, completed: float) -> None:
        if time.monotonic() - self._last >= _LOG_EVERY_S:
            self._last = time.monotonic()
            share = f"{completed / self.weight:.0%}"
            of_all = f"{self.ended} of {self.files} done, {share} of the pixels, now {name}"
            print_note(of_all if self.files > 1 else f"{name}: {share}")
