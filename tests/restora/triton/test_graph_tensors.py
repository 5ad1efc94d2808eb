"""Facts about the tensors of an artifact: those that the onnx package reads."""

from __future__ import annotations

import onnx
import pytest

from fakes import tiny_artifact
from restora.artifact import Artifact, Io, read_artifact
from restora.errors import ArtifactError
from restora.models import find_artifact
from restora.triton.graph_tensors import GraphTensor, tensors_of

TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8"}


def expected(artifact: Artifact) -> tuple[tuple[GraphTensor, ...], ...]:
    graph = onnx.load_from_string(artifact.onnx).graph
    return tuple(
        tuple(
            GraphTensor(
                value.name,
                TYPES[value.type.tensor_type.elem_type],
                tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim),
            )
            for value in values
        )
        for values in (graph.input, graph.output)
    )


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_names_types_and_sizes_are_those_of_the_graph(io: Io) -> None:
    made = tiny_artifact(io=io)
    assert tensors_of(made) == expected(made)
    bundled = read_artifact(find_artifact("restora-lite-x2", io))
    assert tensors_of(bundled) == expected(bundled)


def test_a_type_that_no_network_has_is_refused() -> None:
    model = onnx.load_from_string(tiny_artifact().onnx)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    artifact = Artifact(tiny_artifact().info, model.SerializeToString())
    with pytest.raises(ArtifactError, match="'restored' has the element type 7"):
        tensors_of(artifact)
