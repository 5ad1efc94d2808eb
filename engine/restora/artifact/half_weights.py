"""Weights that a file stores as float16, and that networks read as float32.

A compact file holds, for each large float32 constant whose values float16 represents exactly, the
float16 constant and a Cast node to float32. It is a valid ONNX file of about half the size. Only
the file is compact: in memory the constants are float32 again, so the rest of restora never meets
these nodes, and the graph is, byte for byte, the one that was packed.
"""

from __future__ import annotations

import numpy as np

from restora.artifact.protobuf_wire import encode_field, iter_fields, read_text

# fields of onnx.proto, see onnx_schema
_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INT = 1, 3
_TYPE, _NAME, _RAW = 2, 8, 9
_FLOAT, _FLOAT16 = 1, 10
_LITTLE_FLOAT, _LITTLE_FLOAT16 = np.dtype("<f4"), np.dtype("<f2")

HALF_SUFFIX = ".half"  # of the name of a constant that is stored as float16


def expand_weights(onnx: bytes) -> bytes:
    """The ONNX file with each constant that is stored as float16 as the float32 constant it was.

    Returns the same bytes for a file that is not compact. Raises ValueError if the bytes are not
    an ONNX file.
    """
    model = list(iter_fields(memoryview(onnx)))
    graphs = [value for number, _, value in model if number == _GRAPH]
    if len(graphs) != 1 or isinstance(graphs[0], int):
        return onnx
    graph = list(iter_fields(graphs[0]))
    stored = {
        name: value
        for number, _, value in graph
        if number == _INITIALIZER
        and not isinstance(value, int)
        and (name := read_text(value, _NAME)).endswith(HALF_SUFFIX)
    }
    casts = {
        index: names[0]
        for index, (number, _, value) in enumerate(graph)
        if number == _NODE
        and not isinstance(value, int)
        and (names := _cast_names(value)) is not None
        and names[0] in stored
        and names[1] == names[0].removesuffix(HALF_SUFFIX)
    }
    if not casts:
        return onnx
    wanted = set(casts.values())
    fields = []
    for index, (number, wire_type, value) in enumerate(graph):
        if index in casts:
            continue
        if number == _INITIALIZER and not isinstance(value, int):
            name = read_text(value, _NAME)
            if name in wanted:
                value = memoryview(_as_float32(value, name.removesuffix(HALF_SUFFIX)))
        fields.append(encode_field(number, value, wire_type))
    body = b"".join(fields)
    return b"".join(
        encode_field(number, body if number == _GRAPH else value, wire_type)
        for number, wire_type, value in model
    )


def _cast_names(node: memoryview) -> tuple[str, str] | None:
    """Input and output of a Cast to float32; None for any other node."""
    inputs: list[str] = []
    outputs: list[str] = []
    operator = ""
    to: int | memoryview = 0
    for number, _, value in iter_fields(node):
        if isinstance(value, int):
            continue
        if number == _NODE_INPUT:
            inputs.append(bytes(value).decode())
        elif number == _NODE_OUTPUT:
            outputs.append(bytes(value).decode())
        elif number == _NODE_OPERATOR:
            operator = bytes(value).decode()
        elif number == _NODE_ATTRIBUTE and read_text(value, _ATTRIBUTE_NAME) == "to":
            to = next((v for n, _, v in iter_fields(value) if n == _ATTRIBUTE_INT), 0)
    if operator != "Cast" or to != _FLOAT or len(inputs) != 1 or len(outputs) != 1:
        return None
    return inputs[0], outputs[0]


def _as_float32(tensor: memoryview, name: str) -> bytes:
    """The TensorProto of a float16 constant as that of a float32 constant with another name."""
    fields, has_values = [], False
    for number, wire_type, value in iter_fields(tensor):
        if number == _TYPE and value != _FLOAT16:
            raise ValueError(f"the constant {name + HALF_SUFFIX!r} must be float16")
        if number == _TYPE:
            value = _FLOAT
        elif number == _NAME:
            value = memoryview(name.encode())
        elif number == _RAW:
            has_values = True
            halves = np.frombuffer(value, _LITTLE_FLOAT16)  # type: ignore[arg-type]
            value = memoryview(halves.astype(_LITTLE_FLOAT).tobytes())
        fields.append(encode_field(number, value, wire_type))
    if not has_values:
        raise ValueError(f"the constant {name + HALF_SUFFIX!r} must have its values in raw_data")
    return b"".join(fields)
