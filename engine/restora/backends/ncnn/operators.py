"""ONNX operators as layers of ncnn: all of them, and here convolutions and what follows them.

Each function adds the layers of one node, and raises ValueError if ncnn would compute it otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from restora.backends.ncnn.arithmetic import ARITHMETIC
from restora.backends.ncnn.builder import LayerBuilder
from restora.backends.ncnn.layers import Parameter, Weights
from restora.backends.ncnn.onnx_graph import Node
from restora.backends.ncnn.sampling import SAMPLING

_MULTIPLY = 2  # of BinaryOp
_RELU, _LEAKY = 1, 2  # activations of Convolution


def _convolve(build: LayerBuilder, node: Node) -> None:
    source = build.blob(node.inputs[0])
    weight = build.floats(node.inputs[1])
    channels, side = weight.shape[0], weight.shape[-1]
    if weight.shape != (channels, source.channels, side, side):
        raise ValueError(f"a kernel of shape {weight.shape} for {source.channels} channels")
    stride, pad, dilation = (
        _same(node, name, count, default)
        for name, count, default in (("strides", 2, 1), ("pads", 4, 0), ("dilations", 2, 1))
    )
    given = node.attributes
    plain = given.get("group", 1) == 1 and given.get("auto_pad", b"NOTSET") == b"NOTSET"
    reach = dilation * (side - 1) + 1
    if not plain or min(stride, dilation) < 1 or not 0 < reach - 2 * pad <= stride:
        raise ValueError(
            f"a convolution with the attributes {sorted(given)} and a kernel of {side}"
        )
    weights = [Weights(weight, tagged=True)]
    if len(node.inputs) > 2:
        weights.append(Weights(build.floats(node.inputs[2], (channels,))))
    parameters: dict[int, Parameter] = {0: channels, 1: side, 3: stride, 4: pad}
    if dilation > 1:
        parameters[2] = dilation
    parameters |= {5: len(weights) - 1, 6: weight.size}
    shape = (channels, source.scale / stride)
    build.emit(node, "Convolution", [source], parameters, *weights, shape=shape)


def _activate(build: LayerBuilder, node: Node) -> None:
    """Part of the convolution before it, unless something else reads that too."""
    source = build.blob(node.inputs[0])
    slope = float(node.attributes.get("alpha", 0.01)) if node.operator == "LeakyRelu" else 0.0
    last = build.layers[-1]
    alone = len(build.graph.consumers[node.inputs[0]]) == 1
    if alone and last.kind == "Convolution" and last.outputs == (source.name,):
        last.parameters |= {9: _LEAKY, 10: (slope,)} if slope else {9: _RELU}
        build.rename(node.outputs[0], source)
    else:
        build.emit(node, "ReLU", [source], {0: slope})


def _activate_by_channel(build: LayerBuilder, node: Node) -> None:
    source = build.blob(node.inputs[0])
    slopes = build.floats(node.inputs[1], (1, source.channels, 1, 1))
    build.emit(node, "PReLU", [source], {0: source.channels}, Weights(slopes.reshape(-1)))


def _normalize(build: LayerBuilder, node: Node) -> None:
    """A product with one number, as in RRDBNet."""
    source = build.blob(node.inputs[0])
    shape = (source.channels,)
    weight, bias, mean, variance = (build.floats(name, shape) for name in node.inputs[1:5])
    factors = weight / np.sqrt(variance + np.float32(node.attributes.get("epsilon", 1e-5)))
    factor = float(factors[0])
    if bias.any() or mean.any() or not (factors == factors[0]).all() or not factor:
        raise ValueError("a normalization that is no product with one number")
    consumers = build.graph.consumers.get(node.outputs[0], [])
    if [consumer.operator for consumer in consumers] == ["Add"]:
        build.scaled[node.outputs[0]] = (node.inputs[0], factor)
    else:
        build.emit(node, "BinaryOp", [source], {0: _MULTIPLY, 1: 1, 2: factor})


def _same(node: Node, name: str, count: int, default: int) -> int:
    """The value that all `count` elements of an attribute have."""
    values = list(node.attributes.get(name, [default] * count))
    if len(values) != count or len(set(values)) != 1:
        raise ValueError(f"a convolution with {name} {values}")
    return int(values[0])


OPERATORS: Mapping[str, Callable[[LayerBuilder, Node], None]] = {
    "Conv": _convolve,
    "LeakyRelu": _activate,
    "Relu": _activate,
    "PRelu": _activate_by_channel,
    "BatchNormalization": _normalize,
    **ARITHMETIC,
    **SAMPLING,
}
