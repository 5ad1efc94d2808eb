"""The convolutions of a graph, the sources of their inputs, and their cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from restora.errors import ModelError

# operators that move values without changing them
CARRIERS = ("Concat", "Resize")
_SIDE = 64
_PREFIX = "network."


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution.

    name: name of its weights without the prefix of the exporter, "body.0.blocks.1.conv2"
    node: index in graph.node
    input: name of the input tensor
    sources: tensors that the input consists of, before concatenations and nearest upsampling
    weight: name of the initializer, (out, in, kh, kw)
    macs: multiplications per input pixel of the network, or 0 if unknown
    """

    name: str
    node: int
    input: str
    sources: tuple[str, ...]
    weight: str
    macs: float


def find_layers(model: onnx.ModelProto) -> list[Layer]:
    """Find all convolutions with constant weights, in the order of the graph."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = find_makers(model)
    areas = _find_areas(model)
    layers = []
    for index, node in enumerate(model.graph.node):
        if node.op_type != "Conv" or node.input[1] not in weights:
            continue
        dims = weights[node.input[1]].dims
        layers.append(
            Layer(
                name=_short(node.input[1]),
                node=index,
                input=node.input[0],
                sources=tuple(dict.fromkeys(_iter_sources(node.input[0], makers))),
                weight=node.input[1],
                macs=math.prod(dims) * areas.get(node.output[0], 0.0),
            )
        )
    return layers


def find_makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Map each tensor to the node that computes it."""
    return {name: node for node in model.graph.node for name in node.output}


def inner_layers(layers: list[Layer]) -> list[Layer]:
    """The layers that may be quantized, which excludes the first and the last one."""
    return layers[1:-1]


def group_sources(layers: list[Layer]) -> dict[str, int]:
    """Map each source tensor to the number of its group: sources that meet in a concatenation.

    With a common scale, the concatenation passes INT8 values through.
    """
    groups: dict[str, int] = {}
    for layer in layers:
        met = {groups[source] for source in layer.sources if source in groups}
        number = min(met) if met else len(groups)
        for source, old in groups.items():
            if old in met:
                groups[source] = number
        for source in layer.sources:
            groups[source] = number
    return groups


def require_float(model: onnx.ModelProto) -> None:
    """Raise ModelError if the graph already contains INT8 or FP16 arithmetic."""
    kinds = {node.op_type for node in model.graph.node}
    if kinds & {"QuantizeLinear", "DequantizeLinear", "QLinearConv"}:
        raise ModelError("the artifact is quantized already: calibrate its FP32 artifact")
    half = onnx.TensorProto.FLOAT16
    if any(tensor.data_type == half for tensor in model.graph.initializer):
        raise ModelError("the artifact is in FP16: calibrate its FP32 artifact")
    if "Conv" not in kinds:
        raise ModelError("the artifact has no convolutions that could be quantized")


def read_weight(model: onnx.ModelProto, name: str) -> NDArray[np.float32]:
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    return np.asarray(numpy_helper.to_array(tensor), np.float32)


def _find_areas(model: onnx.ModelProto) -> dict[str, float]:
    """Map each tensor to its number of pixels per input pixel."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    dims = fixed.graph.input[0].type.tensor_type.shape.dim
    for dim, size in zip(dims, (1, _SIDE, _SIDE, 3), strict=True):
        if not dim.dim_value:
            dim.dim_value = size
    pixels = dims[1].dim_value * dims[2].dim_value
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    areas = {}
    for value in inferred.graph.value_info:
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if len(sizes) == 4 and all(sizes):
            areas[value.name] = sizes[2] * sizes[3] / pixels
    return areas


def _iter_sources(name: str, makers: dict[str, onnx.NodeProto]) -> Iterator[str]:
    node = makers.get(name)
    if node is None or node.op_type not in CARRIERS:
        yield name
        return
    inputs = node.input if node.op_type == "Concat" else node.input[:1]
    for part in inputs:
        yield from _iter_sources(part, makers)


def _short(weight: str) -> str:
    name = weight.removesuffix(".weight")
    while name.startswith(_PREFIX):  # an FP16 graph has one more than an FP32 graph
        name = name.removeprefix(_PREFIX)
    return name
