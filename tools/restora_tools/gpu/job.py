"""One network in one precision on one GPU: what the TensorRT stages work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from restora.artifact import Precision
from restora_tools.gpu.machine import Modules
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.subjects import Subject


@dataclass(frozen=True, slots=True)
class Job:
    """report: is given lines for people; the last one is the reason of how a step ends"""

    modules: Modules
    places: Places
    subject: Subject
    precision: Precision
    report: Callable[[str], None] = print

    def row(self, **facts: Any) -> Row:
        """A row of this network and precision."""
        return {"model": self.subject.name, "precision": self.precision, **facts}

    def is_about(self, row: Row) -> bool:
        return (row["model"], row["precision"]) == (self.subject.name, self.precision)
