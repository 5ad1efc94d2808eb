"""Read the few fields of an ONNX file that the runtime needs, without the onnx package.

Field numbers: onnx.proto3 of ONNX 1.17 (ModelProto, GraphProto, NodeProto, AttributeProto,
TensorProto). Wire format: protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from restora.errors import ArtifactError

_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_MAX_DEPTH = 16

Field = tuple[int, int | memoryview]


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """metadata: the file's key-value pairs; uses_external_data: a tensor lies in another file."""

    metadata: dict[str, str]
    uses_external_data: bool


def read_onnx_facts(data: bytes) -> OnnxFacts:
    """Raises ArtifactError if the bytes are not a protobuf message with a graph."""
    metadata: dict[str, str] = {}
    graphs = 0
    external = False
    try:
        for number, value in _fields(memoryview(data)):
            if number == _MODEL_METADATA and isinstance(value, memoryview):
                entry = dict(_fields(value))
                key, text = entry.get(_ENTRY_KEY, b""), entry.get(_ENTRY_VALUE, b"")
                if isinstance(key, int) or isinstance(text, int):
                    raise ValueError("a metadata entry is not a pair of strings")
                metadata[bytes(key).decode()] = bytes(text).decode()
            elif number == _MODEL_GRAPH and isinstance(value, memoryview):
                graphs += 1
                external = external or _graph_is_external(value, 0)
    except (ValueError, IndexError) as error:
        raise ArtifactError(f"not an ONNX file, or a damaged one: {error}") from error
    if graphs != 1:
        raise ArtifactError(f"an ONNX file must hold one graph, this one holds {graphs}")
    return OnnxFacts(metadata, external)


def _graph_is_external(graph: memoryview, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError(f"graphs are nested more than {_MAX_DEPTH} deep")
    for number, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == _GRAPH_INITIALIZER and _tensor_is_external(value):
            return True
        # a sparse tensor's values (1) and indices (2) are tensors themselves
        if number == _GRAPH_SPARSE and any(
            isinstance(part, memoryview) and _tensor_is_external(part)
            for index, part in _fields(value)
            if index in (1, 2)
        ):
            return True
        if number == _GRAPH_NODE and any(
            isinstance(attribute, memoryview) and _attribute_is_external(attribute, depth)
            for index, attribute in _fields(value)
            if index == _NODE_ATTRIBUTE
        ):
            return True
    return False


def _attribute_is_external(attribute: memoryview, depth: int) -> bool:
    for number, value in _fields(attribute):
        if not isinstance(value, memoryview):
            continue
        if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS) and _tensor_is_external(value):
            return True
        if number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS) and _graph_is_external(value, depth + 1):
            return True
    return False


def _tensor_is_external(tensor: memoryview) -> bool:
    return any(
        number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value == 1)
        for number, value in _fields(tensor)
    )


def _fields(message: memoryview) -> Iterator[Field]:
    """Yield (field number, value); length-delimited values as views, fixed-width ones skipped."""
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, position = _varint(message, position)
            yield number, value
        elif wire_type == 2:
            length, position = _varint(message, position)
            if position + length > end:
                raise ValueError("a field reaches past the end of the data")
            yield number, message[position : position + length]
            position += length
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire_type}")
    if position != end:
        raise ValueError("a field reaches past the end of the data")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is longer than ten bytes")
