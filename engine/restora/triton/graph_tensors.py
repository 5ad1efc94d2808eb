"""Names, types and shapes of the tensors that a graph takes and gives, read from an ONNX file.

Triton compares the outputs of a configuration with those of the graph, dimension by dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from restora.artifact import Artifact
from restora.artifact.protobuf_wire import iter_fields, read_text
from restora.errors import ArtifactError

# numbers of fields in onnx.proto
_GRAPH, _INPUT, _OUTPUT = 7, 11, 12
_NAME, _TYPE = 1, 2
_TENSOR_TYPE, _ELEMENT, _SHAPE, _DIM, _DIM_VALUE = 1, 1, 2, 1, 1
# types of elements: onnx.proto's numbers, Triton's names
_TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 10: "TYPE_FP16"}


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """One input or output.

    data_type: in Triton's words, such as "TYPE_UINT8"
    shape: with the batch; -1 for a size that may vary
    """

    name: str
    data_type: str
    shape: tuple[int, ...]


def tensors_of(artifact: Artifact) -> tuple[tuple[GraphTensor, ...], tuple[GraphTensor, ...]]:
    """The inputs and the outputs of an artifact, in the order of its graph. Raises ArtifactError
    for a type that networks of restora do not have."""
    (graph,) = _messages(memoryview(artifact.onnx), _GRAPH)
    return (
        tuple(_read_tensor(value) for value in _messages(graph, _INPUT)),
        tuple(_read_tensor(value) for value in _messages(graph, _OUTPUT)),
    )


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, _, value in iter_fields(message):
        if number == wanted and not isinstance(value, int):
            yield value


def _read_tensor(value: memoryview) -> GraphTensor:
    name = read_text(value, _NAME)
    (kind,) = _messages(value, _TYPE)
    (tensor,) = _messages(kind, _TENSOR_TYPE)
    element, shape = 0, list[int]()
    for number, _, field in iter_fields(tensor):
        if number == _ELEMENT and isinstance(field, int):
            element = field
        elif number == _SHAPE and not isinstance(field, int):
            shape = [_read_size(size) for size in _messages(field, _DIM)]
    if element not in _TYPES:
        raise ArtifactError(
            f"the tensor {name!r} has the element type {element}; networks of restora take and "
            "give uint8, float16 and float32"
        )
    return GraphTensor(name, _TYPES[element], tuple(shape))


def _read_size(dimension: memoryview) -> int:
    """-1 unless it is a fixed number."""
    for number, _, value in iter_fields(dimension):
        if number == _DIM_VALUE and isinstance(value, int):
            return value
    return -1
