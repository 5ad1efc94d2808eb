"""Figures by step: log.csv in the folder of a run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from restora.errors import OutputError

LOG_FILE = "log.csv"
_FIRST = ("step", "seconds", "rate", "waiting_share")


class Log:
    """Appends rows; a row may lack figures that others have.

    columns: names of all figures besides step, seconds, rate and waiting_share
    done: rows of later steps, which a killed run left, are removed

    Raises OutputError if the file cannot be written.
    """

    def __init__(self, folder: Path, columns: list[str], *, done: int) -> None:
        self.path = folder / LOG_FILE
        self.columns = [*_FIRST, *(name for name in columns if name not in _FIRST)]
        rows = [row for row in read_log(self.path) if int(row["step"]) <= done] if done else []
        self._write([self.columns, *([row.get(c, "") for c in self.columns] for row in rows)], "w")

    def add(self, figures: Mapping[str, float]) -> None:
        self._write([[_format(figures.get(column)) for column in self.columns]], "a")

    def _write(self, rows: list[list[str]], mode: str) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        try:
            with self.path.open(mode, encoding="utf-8") as stream:
                stream.write(text.getvalue())
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error


def read_log(path: Path) -> list[dict[str, str]]:
    """The rows of a log; a line that was cut off by a kill is left out."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [row for row in rows if (row.get("step") or "").isdigit()]


def _format(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
