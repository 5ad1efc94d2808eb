"""How far a command is: bars on a terminal, a line every ten seconds elsewhere."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from restora.cli.console import print_note, stderr_console
from restora.jobs.plan import Job

_LOG_EVERY_S = 10.0


@contextmanager
def photo_progress(jobs: Sequence[Job]) -> Iterator["PhotoProgress"]:
    """A bar by pixels of the inputs, or a line."""
    console = stderr_console()
    if not console.is_terminal:
        yield LogProgress(jobs)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield RichProgress(bar, jobs)


@contextmanager
def frame_progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar by frames, with frames per second and the time left, or a line."""
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


class PhotoProgress(ABC):
    """The share of a run that is done, by pixels of the inputs: a large photo takes longer."""

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
        """Show that `completed` of self.weight is done; parts of photos in flight count."""


def _weigh(job: Job) -> int:
    return max(1, job.pixels)


class RichProgress(PhotoProgress):
    def __init__(self, bar: Progress, jobs: Sequence[Job]) -> None:
        super().__init__(jobs)
        self._bar = bar
        self._task = bar.add_task("", total=self.weight)

    def show(self, name: str, completed: float) -> None:
        count = f"{min(self.ended + 1, self.files)}/{self.files} " if self.files > 1 else ""
        self._bar.update(self._task, description=f"{count}{name}", completed=completed)


class LogProgress(PhotoProgress):
    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__(jobs)
        self._last = time.monotonic()

    def show(self, name: str, completed: float) -> None:
        if time.monotonic() - self._last >= _LOG_EVERY_S:
            self._last = time.monotonic()
            share = f"{completed / self.weight:.0%}"
            of_all = f"{self.ended} of {self.files} done, {share} of the pixels, now {name}"
            print_note(of_all if self.files > 1 else f"{name}: {share}")
