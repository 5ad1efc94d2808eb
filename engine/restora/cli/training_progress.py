"""The progress bar of `restora train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from restora.cli.console import stderr_console


class TrainingProgress:
    """Shows steps, losses and the time left."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._pairs: TaskID | None = None
        self._steps: TaskID | None = None

    def show_pairs(self, done: int, total: int) -> None:
        if self._pairs is None:
            self._pairs = self._bar.add_task("teacher's answers", total=total, figures="")
        self._bar.update(self._pairs, completed=done)

    def show_step(self, report: Any) -> None:
        """report: a restora_training.StepReport"""
        if self._steps is None:
            first = report.step - 1
            self._steps = self._bar.add_task("steps", total=report.steps, figures="")
            self._bar.update(self._steps, completed=first)
        losses = report.losses.items()
        loss = sum(value for name, value in losses if not name.startswith("discriminator"))
        figures = f"loss {loss:.4f}"
        if report.waiting_share > 0.1:
            figures += f", waits for data {report.waiting_share:.0%}"
        self._bar.update(self._steps, completed=report.step, figures=figures)


@contextmanager
def show_training() -> Iterator[TrainingProgress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=stderr_console(), transient=True) as bar:
        yield TrainingProgress(bar)
