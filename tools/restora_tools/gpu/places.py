"""The folder in which the steps keep their results, so that each continues where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restora_tools.gpu.subjects import Subject

if TYPE_CHECKING:
    from restora.artifact import Artifact, Precision

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Places:
    """One folder for everything: artifacts, plans, logs and the rows of each stage.

    card: name of the GPU, which every row of a measurement carries
    """

    root: Path
    card: str = ""

    @property
    def plans(self) -> Path:
        return self.root / "plans"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Held by the process that runs steps."""
        return self.root / "running.lock"

    def artifact(self, subject: Subject, precision: str = "fp32") -> Path:
        middle = "" if precision == "fp32" else f".{precision}"
        return self.root / "artifacts" / f"{subject.name}{middle}.onnx"

    def family(self, subject: Subject) -> list[Artifact]:
        """The artifacts of a subject. Raises MissingModelError before the stage `prepare`."""
        from restora.artifact import read_artifact, read_precision_variants

        path = self.artifact(subject)
        return read_precision_variants(read_artifact(path), path)

    def has(self, subject: Subject, precision: Precision | str) -> bool:
        """Whether the artifact is there."""
        return self.artifact(subject, precision).exists()

    def rows(self, stage: str) -> list[Row]:
        """What a stage has found so far."""
        try:
            found: list[Row] = json.loads(self._file(stage).read_text())
        except FileNotFoundError:
            return []
        return found

    def add_rows(self, stage: str, rows: Sequence[Row], *, key: tuple[str, ...]) -> None:
        """Add rows with the card and the time; older ones with the same values of `key` go."""
        facts = {
            **({"card": self.card} if self.card else {}),
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        new = [tuple(row.get(name) for name in key) for row in rows]
        kept = [r for r in self.rows(stage) if tuple(r.get(name) for name in key) not in new]
        file = self._file(stage)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}.part")
        draft.write_text(json.dumps([*kept, *({**row, **facts} for row in rows)], indent=1) + "\n")
        draft.replace(file)

    def _file(self, stage: str) -> Path:
        return self.root / "rows" / f"{stage}.json"
