"""Find the layer at which two artifacts differ, or an artifact and its TensorRT engine.

`python -m restora_tools.layers MODEL.onnx OTHER.onnx` compares two artifacts of one network
on the CPU; `--tensorrt` instead of OTHER.onnx builds an engine with every layer as an output.
The gate of a plan says that it is wrong; this says where.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from polygraphy import constants
from polygraphy.backend.onnx import BytesFromOnnx, ModifyOutputs
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
from polygraphy.logger import G_LOGGER
from rich.console import Console
from rich.table import Table

from restora.artifact import Artifact, read_artifact
from restora.errors import ArtifactError

Values = Mapping[str, NDArray[Any]]
DEPARTS = 0.01  # relative error from which on a layer is shown as departing


@dataclass(frozen=True, slots=True)
class LayerError:
    """One tensor. relative: ||other - reference|| / ||reference||; largest: of the reference."""

    name: str
    operator: str
    relative: float
    largest: float
    finite: bool

    @property
    def departs(self) -> bool:
        return not self.finite or not self.relative < DEPARTS


def compare_layers(model: onnx.ModelProto, reference: Values, other: Values) -> list[LayerError]:
    """Errors of the tensors that both have, in the order of the graph."""
    return list(_errors(model, reference, other))


def _errors(model: onnx.ModelProto, reference: Values, other: Values) -> Iterator[LayerError]:
    for node in model.graph.node:
        for name in node.output:
            if name not in reference or name not in other:
                continue
            exact = np.asarray(reference[name], np.float64)
            got = np.asarray(other[name], np.float64)
            if exact.shape != got.shape or not exact.size:
                continue
            norm = float(np.linalg.norm(exact)) or 1.0
            finite = bool(np.isfinite(got).all())
            relative = float(np.linalg.norm(got - exact)) / norm if finite else float("inf")
            yield LayerError(name, node.op_type, relative, float(np.abs(exact).max()), finite)


def run_all_layers(model: onnx.ModelProto, image: NDArray[Any]) -> Values:
    """Every tensor of a graph on one batch, by ONNX Runtime on the CPU."""
    session = SessionFromOnnx(BytesFromOnnx(ModifyOutputs(model, outputs=constants.MARK_ALL)))
    with OnnxrtRunner(session) as runner:
        return OrderedDict(runner.infer({"image": image}))


def run_all_layers_on_tensorrt(data: bytes, image: NDArray[Any]) -> Values:
    """The same by an engine whose every layer is an output; fusions differ from a plan's."""
    from polygraphy.backend.trt import (
        CreateConfig,
        EngineFromNetwork,
        ModifyNetworkOutputs,
        NetworkFromOnnxBytes,
        Profile,
        TrtRunner,
    )

    shape = image.shape
    profile = Profile().add("image", shape, shape, shape)
    typed = hasattr(_tensorrt().NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    network = (
        NetworkFromOnnxBytes(data, strongly_typed=True) if typed else NetworkFromOnnxBytes(data)
    )
    config = CreateConfig(profiles=[profile], fp16=not typed)
    marked = ModifyNetworkOutputs(network, outputs=constants.MARK_ALL)
    with TrtRunner(EngineFromNetwork(marked, config)) as runner:
        return OrderedDict(runner.infer({"image": image}))


def _tensorrt() -> Any:
    from restora.backends.tensorrt.module import import_tensorrt

    return import_tensorrt()


def picture_for(artifact: Artifact) -> NDArray[Any]:
    """The picture that travels with an artifact. Raises ArtifactError if none does."""
    selfcheck = artifact.read_selfcheck()
    if selfcheck is None:
        raise ArtifactError(f"{artifact.info.model} has no self-check: export it again")
    return selfcheck.image[:1]


def make_table(errors: list[LayerError], *, rows: int) -> Table:
    """The first layers that depart, or the worst ones if none does."""
    departing = [error for error in errors if error.departs]
    shown = departing or sorted(errors, key=lambda error: -error.relative)
    title = f"{len(departing)} of {len(errors)} layers depart by {DEPARTS:.0%} or more"
    table = Table(title=title)
    for head in ("tensor", "operator", "relative error", "largest value", "finite"):
        table.add_column(head)
    for error in shown[:rows]:
        finite = "yes" if error.finite else "NO"
        figures = (f"{error.relative:.2e}", f"{error.largest:.3g}", finite)
        table.add_row(error.name, error.operator, *figures)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path)
    parser.add_argument("other", type=Path, nargs="?")
    parser.add_argument("--tensorrt", action="store_true")
    parser.add_argument("--rows", type=int, default=20)
    arguments = parser.parse_args()
    if (arguments.other is None) != arguments.tensorrt:
        parser.error("name a second artifact, or give --tensorrt")
    G_LOGGER.module_severity = G_LOGGER.ERROR
    artifact = read_artifact(arguments.reference)
    image = picture_for(artifact)
    model = onnx.load_from_string(artifact.onnx)
    reference = run_all_layers(model, image)
    if arguments.tensorrt:
        other = run_all_layers_on_tensorrt(artifact.onnx, image)
    else:
        other = run_all_layers(onnx.load(arguments.other), image)
    errors = compare_layers(model, reference, other)
    Console().print(make_table(errors, rows=arguments.rows))


if __name__ == "__main__":
    main()
