"""What is measured: models with their published weights, models of known shape, any artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from restora.artifact import Artifact, read_artifact
from restora.errors import ModelError, OptionError
from restora.models import MODELS, find_artifact
from restora.models import find_model as find_files
from restora.models.fetch import fetch_model
from restora.models.resolve import find_or_export
from restora_benchmarks.networks import BUNDLED, NETWORKS, SMALLER, TINY, Network

if TYPE_CHECKING:
    from torch import nn

KNOWN = {network.name: network for network in (*NETWORKS, *SMALLER, TINY)}
Weights = Literal["bundled", "published", "synthetic", "own"]


@dataclass(frozen=True)
class Model:
    """One model.

    weights: where its weights are from; "own" are those of an artifact that the user names
    network: its shape, if known; without it, peers that need a PyTorch network are left out
    checkpoint: the published weights
    folder: for what peers make of it
    """

    name: str
    path: Path
    weights: Weights = "own"
    network: Network | None = None
    checkpoint: Path | None = None
    folder: Path = Path("build/bench")

    @cached_property
    def artifact(self) -> Artifact:
        return read_artifact(self.path)

    @property
    def is_face(self) -> bool:
        return self.artifact.info.kind == "face"

    def make_network(self) -> nn.Module:
        """The PyTorch network. Raises LookupError if the network or its weights are not here."""
        if self.checkpoint is not None:
            from restora_export.checkpoint import load_checkpoint, network_from_checkpoint

            return network_from_checkpoint(load_checkpoint(self.checkpoint))
        if self.network is None:
            raise LookupError("an artifact alone has no PyTorch network")
        return self.network.make()


def find_model(
    name: str, folder: Path, report: Callable[[str], None], *, synthetic: bool = False
) -> Model:
    """A model of KNOWN, or an .onnx file.

    Published weights are taken from the model folder, or downloaded into it. Where they cannot be
    had, `report` says why, and synthetic weights are measured.

    folder: for artifacts with synthetic weights
    synthetic: measure synthetic weights in any case, except for bundled models

    Raises OptionError for an unknown name.
    """
    path = Path(name)
    if path.suffix == ".onnx" and path.is_file():
        return Model(read_artifact(path).info.model, path, folder=folder)
    if name not in KNOWN:
        raise OptionError(f"unknown model {name!r}; known: {', '.join(KNOWN)}, or an .onnx file")
    network = KNOWN[name]
    if name in BUNDLED:
        # with those of other precisions beside it
        return Model(name, find_artifact(name, "uint8"), "bundled", network, folder=folder)
    checkpoint = None if synthetic else _find_checkpoint(name, report)
    if checkpoint is not None:
        report(f"{name} with its published weights, {checkpoint.name}")
        path = find_or_export(name, "uint8", network.kind)
        return Model(name, path, "published", network, checkpoint, folder)
    path = folder / "artifacts" / f"{name}.onnx"
    if not path.exists():
        report(f"exporting {name}, once")
        network.export(path)
    return Model(name, path, "synthetic", network, folder=folder)


def _find_checkpoint(name: str, report: Callable[[str], None]) -> Path | None:
    """The published weights of a model, from the model folder or downloaded; None for a network
    that nobody publishes."""
    if name not in MODELS:
        return None
    found = find_files(name).checkpoint
    if found is not None:
        return found
    try:
        return fetch_model(name)
    except ModelError as error:
        report(f"{name} is measured with synthetic weights: {error}")
        return None
