"""Figures by step: log.csv in the folder of a run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from restora.atomic import write_atomically
from restora.errors import OutputError

LOG_FILE = "log.csv"
_FIRST = ("step", "seconds", "rate", "waiting_share")


class Log:
    """Appends rows, with a column for each figure that any row has.

    columns: names of figures to make room for at the start; others get a column when they come
    done: rows of later steps, which a killed run left, are removed

    Raises OutputError or DiskFullError if the file cannot be written.
    """

    def __init__(self, folder: Path, columns: Sequence[str] = (), *, done: int) -> None:
        self.path = folder / LOG_FILE
        rows = [row for row in read_log(self.path) if int(row["step"]) <= done] if done else []
        earlier = rows[0] if rows else ()
        self.columns = list(dict.fromkeys((*_FIRST, *earlier, *columns)))
        self._replace(rows)

    def add(self, figures: Mapping[str, float]) -> None:
        new = [name for name in figures if name not in self.columns]
        if new:
            self.columns += new
            self._replace(read_log(self.path))
        row = [_format(figures.get(column)) for column in self.columns]
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(_text_of([row]))
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error

    def _replace(self, rows: Iterable[Mapping[str, str]]) -> None:
        lines = [self.columns, *([row.get(c) or "" for c in self.columns] for row in rows)]
        write_atomically(self.path, _text_of(lines).encode())


def read_log(path: Path) -> list[dict[str, str]]:
    """The rows of a log. A line that a kill cut off, or that a power cut left without its content,
    is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    rows = list(csv.DictReader(line for line in whole.splitlines() if "\0" not in line))
    return [row for row in rows if (row.get("step") or "").isdigit()]


def _text_of(lines: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _format(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
