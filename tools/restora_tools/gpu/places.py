"""The folder in which the stages keep their results, so that each continues where it stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restora.artifact import Artifact, Precision, read_artifact, read_precision_variants
from restora_tools.gpu.subjects import Subject

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Places:
    """One folder for everything: artifacts, plans and the rows of each stage."""

    root: Path

    @property
    def plans(self) -> Path:
        return self.root / "plans"

    def offered(self, subject: Subject, precisions: Sequence[Precision]) -> list[Precision]:
        """INT8 where there is an artifact, the other precisions everywhere."""
        return [p for p in precisions if p != "int8" or self.artifact(subject, p).exists()]

    def artifact(self, subject: Subject, precision: str = "fp32") -> Path:
        middle = "" if precision == "fp32" else f".{precision}"
        return self.root / "artifacts" / f"{subject.name}{middle}.onnx"

    def family(self, subject: Subject) -> list[Artifact]:
        """The artifacts of a subject. Raises MissingModelError before the stage `prepare`."""
        path = self.artifact(subject)
        return read_precision_variants(read_artifact(path), path)

    def rows(self, stage: str) -> list[Row]:
        """What a stage has found so far."""
        try:
            found: list[Row] = json.loads(self._file(stage).read_text())
        except FileNotFoundError:
            return []
        return found

    def add_rows(self, stage: str, rows: list[Row], *, key: tuple[str, ...]) -> None:
        """Add rows; older ones with the same values of `key` are replaced."""
        new = [tuple(row.get(name) for name in key) for row in rows]
        kept = [r for r in self.rows(stage) if tuple(r.get(name) for name in key) not in new]
        file = self._file(stage)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".part")
        draft.write_text(json.dumps([*kept, *rows], indent=1) + "\n")
        draft.replace(file)

    def _file(self, stage: str) -> Path:
        return self.root / f"{stage}.json"
