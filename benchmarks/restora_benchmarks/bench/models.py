"""What is measured: models of known shape, or any artefact."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from restora.artifact import Artifact, read_artifact
from restora.models import DEFAULT_MODEL, find_artifact
from restora_benchmarks.gpu.places import Places
from restora_benchmarks.gpu.prepare import prepare
from restora_benchmarks.gpu.subjects import SUBJECTS, TINY, Subject, make_network

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)
KNOWN: dict[str, Subject] = {subject.name: subject for subject in (*SUBJECTS, *TINY)}


@dataclass(frozen=True)
class Model:
    """One model. subject: of a known one, whose PyTorch network peers can run; None: no peers
    that need it. folder: for what peers make of it. Known full-size models have recipe weights:
    speed does not depend on them."""

    name: str
    path: Path
    subject: Subject | None = None
    folder: Path = Path("build/bench")

    @cached_property
    def artifact(self) -> Artifact:
        return read_artifact(self.path)

    @property
    def is_face(self) -> bool:
        return self.artifact.info.kind == "face"

    def make_network(self) -> nn.Module:
        if self.subject is None:
            raise LookupError("an artefact alone has no PyTorch network")
        return make_network(self.subject)


def find_model(name: str, folder: Path, report: Callable[[str], None]) -> Model:
    """A model of KNOWN, exported into `folder` if it is not there yet, or an .onnx file.

    Raises SystemExit for an unknown name.
    """
    path = Path(name)
    if path.suffix == ".onnx" and path.is_file():
        return Model(read_artifact(path).info.model, path, folder=folder)
    if name not in KNOWN:
        raise SystemExit(f"unknown model {name}; known: {', '.join(KNOWN)}, or an .onnx file")
    subject = KNOWN[name]
    if name == DEFAULT_MODEL:
        # with those of other precisions beside it
        return Model(name, find_artifact(name, "uint8"), subject, folder)
    places = Places(folder)
    if not places.artifact(subject).exists():
        report(f"exporting {name}, once")
        prepare(places, [subject], ["fp32"], report)
    return Model(name, places.artifact(subject), subject, folder)
