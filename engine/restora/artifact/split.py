"""Cut the graph of a network in two where it begins to enlarge.

Before the cut, tensors have the resolution of the input, and each result depends on pixels far
away. Behind it, tensors are large, and each result depends on a few pixels. The two graphs can run
on tiles of different sizes. RRDBNet can be cut. SRVGGNetCompact cannot: it adds the input to its
result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from restora.artifact.protobuf_wire import (
    encode_field,
    iter_fields,
    read_packed_varints,
    read_text,
)

# fields of onnx.proto, see onnx_schema
_GRAPH, _MODEL_METADATA = 7, 14
_NODE, _GRAPH_NAME, _INITIALIZER, _INPUT, _OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_STRING = 4
_TENSOR_DIMS, _TENSOR_NAME = 1, 8
_FLOAT = 1
_ENLARGING = "Resize"
_POINTWISE = (
    "Add", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Div", "LeakyRelu", "Mul",
    "PRelu", "QuantizeLinear", "Relu", "Round", "Sub", "Transpose",
)  # fmt: skip
_KERNEL = 3


@dataclass(frozen=True, slots=True)
class GraphParts:
    """Two ONNX files without metadata.

    trunk: from the input of the network to `features`
    head: from `features` to the outputs of the network
    features: the name of the tensor between them, float32 (batch, channels, height, width)
    channels: of `features`
    reach: each pixel of the outputs depends on at most so many pixels of `features` around its own
    """

    trunk: bytes
    head: bytes
    features: str
    channels: int
    reach: int


@dataclass(frozen=True, slots=True)
class _Node:
    raw: memoryview
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(slots=True)
class _Graph:
    name: memoryview | None = None
    nodes: list[_Node] = field(default_factory=list)
    constants: dict[str, memoryview] = field(default_factory=dict)
    inputs: dict[str, memoryview] = field(default_factory=dict)
    outputs: dict[str, memoryview] = field(default_factory=dict)


def split_graph(onnx: bytes) -> GraphParts | None:
    """Cut the graph of an artifact that computes in float32 between its inputs and outputs.

    Returns None unless a single tensor leads from what is before the first Resize to what is behind
    it, and only operators whose reach is known are behind it. Raises ValueError if the bytes are
    not an ONNX file.
    """
    shell: list[tuple[int, int, int | memoryview]] = []
    graph = _Graph()
    for number, wire_type, value in iter_fields(memoryview(onnx)):
        if number == _GRAPH:
            assert not isinstance(value, int)
            graph = _read_graph(value)
        elif number != _MODEL_METADATA:
            shell.append((number, wire_type, value))
    first = next((node for node in graph.nodes if node.operator == _ENLARGING), None)
    if first is None or first.inputs[0] in graph.inputs:
        return None
    cut = first.inputs[0]
    trunk, head = _divide(graph.nodes, cut)
    made = {name for node in head for name in node.outputs}
    given = {cut, "", *graph.constants, *made}
    channels = _channels_into(head, graph.constants)
    if (
        channels is None
        or not set(graph.outputs) <= made
        or not all(name in given for node in head for name in node.inputs)
        or not all(_is_local(node, graph) for node in head)
    ):
        return None
    between = {cut: memoryview(_value_info(cut, channels))}
    return GraphParts(
        trunk=_model(shell, graph, trunk, graph.inputs, between),
        head=_model(shell, graph, head, between, graph.outputs),
        features=cut,
        channels=channels,
        reach=sum(node.operator == "Conv" for node in head),
    )


def _read_graph(message: memoryview) -> _Graph:
    graph = _Graph()
    for number, _, value in iter_fields(message):
        if isinstance(value, int):
            continue
        if number == _NODE:
            graph.nodes.append(_read_node(value))
        elif number == _GRAPH_NAME:
            graph.name = value
        elif number == _INITIALIZER:
            graph.constants[read_text(value, _TENSOR_NAME)] = value
        elif number == _INPUT:
            graph.inputs[read_text(value, 1)] = value
        elif number == _OUTPUT:
            graph.outputs[read_text(value, 1)] = value
    return graph


def _read_node(message: memoryview) -> _Node:
    texts: dict[int, list[str]] = {_NODE_INPUT: [], _NODE_OUTPUT: [], _NODE_OPERATOR: []}
    for number, _, value in iter_fields(message):
        if number in texts and not isinstance(value, int):
            texts[number].append(bytes(value).decode())
    operator = "".join(texts[_NODE_OPERATOR])
    return _Node(message, operator, tuple(texts[_NODE_INPUT]), tuple(texts[_NODE_OUTPUT]))


def _divide(nodes: list[_Node], cut: str) -> tuple[list[_Node], list[_Node]]:
    """The nodes that do not depend on `cut`, and those that do, in their order."""
    behind = {cut}
    trunk: list[_Node] = []
    head: list[_Node] = []
    for node in nodes:
        if behind.isdisjoint(node.inputs):
            trunk.append(node)
        else:
            head.append(node)
            behind.update(node.outputs)
    return trunk, head


def _is_local(node: _Node, graph: _Graph) -> bool:
    """Whether each pixel depends on the same pixel of the inputs, or on its eight neighbors."""
    if node.operator == "Resize":
        return _mode(node) == "nearest"
    if node.operator == "ReduceMean":  # the channel means, which are an output
        return set(node.outputs) <= set(graph.outputs)
    # weights are (out, in, height, width), also those that are dequantized for a convolution
    shapes = (_dims(graph.constants[name]) for name in node.inputs if name in graph.constants)
    kernel = max((side for dims in shapes if len(dims) == 4 for side in dims[2:]), default=1)
    return node.operator in (*_POINTWISE, "Conv") and kernel <= _KERNEL


def _mode(node: _Node) -> str:
    """The attribute `mode` of a Resize."""
    for number, _, value in iter_fields(node.raw):
        if number != _NODE_ATTRIBUTE or isinstance(value, int):
            continue
        if read_text(value, 1) == "mode":
            return read_text(value, _ATTRIBUTE_STRING)
    return "nearest"


def _channels_into(head: Iterable[_Node], constants: dict[str, memoryview]) -> int | None:
    """Input channels of the first convolution, from its weights (out, in, height, width)."""
    for node in head:
        for name in node.inputs:
            dims = _dims(constants[name]) if name in constants else []
            if len(dims) == 4:
                return dims[1]
    return None


def _dims(tensor: memoryview) -> list[int]:
    dims: list[int] = []
    for number, _, value in iter_fields(tensor):
        if number == _TENSOR_DIMS:
            dims += [value] if isinstance(value, int) else read_packed_varints(value)
    return dims


def _model(
    shell: Iterable[tuple[int, int, int | memoryview]],
    graph: _Graph,
    nodes: list[_Node],
    inputs: dict[str, memoryview],
    outputs: dict[str, memoryview],
) -> bytes:
    used = {name for node in nodes for name in node.inputs}
    parts = [encode_field(_NODE, node.raw) for node in nodes]
    parts.append(encode_field(_GRAPH_NAME, graph.name or b"part"))
    constants = (raw for name, raw in graph.constants.items() if name in used)
    parts += [encode_field(_INITIALIZER, raw) for raw in constants]
    parts += [encode_field(_INPUT, raw) for raw in inputs.values()]
    parts += [encode_field(_OUTPUT, raw) for raw in outputs.values()]
    fields = [encode_field(number, value, kind) for number, kind, value in shell]
    return b"".join([*fields, encode_field(_GRAPH, b"".join(parts))])


def _value_info(name: str, channels: int) -> bytes:
    """ValueInfoProto of a float32 tensor (any, channels, any, any)."""
    unknown, known = encode_field(1, b""), encode_field(1, encode_field(1, channels))
    shape = unknown + known + unknown + unknown
    tensor = encode_field(1, _FLOAT) + encode_field(2, shape)
    return encode_field(1, name.encode()) + encode_field(2, encode_field(1, tensor))
