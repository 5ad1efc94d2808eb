"""What is measured: models of known shape, or any artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from restora.artifact import Artifact, read_artifact
from restora.errors import OptionError
from restora.models import DEFAULT_MODEL, find_artifact
from restora_benchmarks.networks import NETWORKS, TINY, Network

if TYPE_CHECKING:
    from torch import nn

KNOWN = {network.name: network for network in (*NETWORKS, TINY)}


@dataclass(frozen=True)
class Model:
    """One model. network: of a known one, whose PyTorch form peers can run; None: no peers that
    need it. folder: for what peers make of it."""

    name: str
    path: Path
    network: Network | None = None
    folder: Path = Path("build/bench")

    @cached_property
    def artifact(self) -> Artifact:
        return read_artifact(self.path)

    @property
    def is_face(self) -> bool:
        return self.artifact.info.kind == "face"

    def make_network(self) -> nn.Module:
        """Raises LookupError if the network or its weights are not here."""
        if self.network is None:
            raise LookupError("an artifact alone has no PyTorch network")
        return self.network.make()


def find_model(name: str, folder: Path, report: Callable[[str], None]) -> Model:
    """A model of KNOWN, exported into `folder` if it is not there yet, or an .onnx file.

    Raises OptionError for an unknown name.
    """
    path = Path(name)
    if path.suffix == ".onnx" and path.is_file():
        return Model(read_artifact(path).info.model, path, folder=folder)
    if name not in KNOWN:
        raise OptionError(f"unknown model {name!r}; known: {', '.join(KNOWN)}, or an .onnx file")
    network = KNOWN[name]
    if name == DEFAULT_MODEL:
        # with those of other precisions beside it
        return Model(name, find_artifact(name, "uint8"), network, folder)
    path = folder / "artifacts" / f"{name}.onnx"
    if not path.exists():
        report(f"exporting {name}, once")
        network.export(path)
    return Model(name, path, network, folder)
