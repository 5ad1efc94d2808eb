"""Operators that compute each value of their result from values at the same place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from restora.backends.ncnn.builder import Blob, LayerBuilder
from restora.backends.ncnn.layers import Parameter
from restora.backends.ncnn.onnx_graph import Node

_NEGATE = 1  # of UnaryOp
_SUM = 1  # of Eltwise
# of BinaryOp: with a number behind the operator, and with one before it
_BINARY = {"Add": (0, 0), "Sub": (1, 7), "Mul": (2, 2), "Div": (3, 8), "Min": (5, 5)}
_LOWEST, _HIGHEST = -3.0e38, 3.0e38


def _combine(build: LayerBuilder, node: Node) -> None:
    """Two tensors, or a tensor and a number. A tensor with one channel or one pixel counts for all
    channels or pixels of the other one."""
    first, second = node.inputs
    behind, before = _BINARY[node.operator]
    for tensor, other, operation in ((first, second, behind), (second, first, before)):
        number = build.graph.scalar(other)
        if number is not None:
            build.emit(node, "BinaryOp", [build.blob(tensor)], {0: operation, 1: 1, 2: number})
            return
    if node.operator == "Add" and (first in build.scaled or second in build.scaled):
        _add_scaled(build, node)
        return
    blobs = [build.blob(first), build.blob(second)]
    channels, scales = {b.channels for b in blobs}, {b.scale for b in blobs}
    if len(channels - {1}) > 1 or len(scales - {0}) > 1:
        raise ValueError(f"{node.operator} of tensors of different shapes")
    shape = (max(channels), max(scales))
    build.emit(node, "BinaryOp", blobs, {0: behind}, shape=shape)


def _add_scaled(build: LayerBuilder, node: Node) -> None:
    terms = [build.scaled.get(name, (name, 1.0)) for name in node.inputs]
    first, second = (build.blob(name) for name, _ in terms)
    if (first.channels, first.scale) != (second.channels, second.scale):
        raise ValueError("it adds tensors of different shapes")
    coefficients = tuple(factor for _, factor in terms)
    build.emit(node, "Eltwise", [first, second], {0: _SUM, 1: coefficients})


def _negate(build: LayerBuilder, node: Node) -> None:
    build.emit(node, "UnaryOp", [build.blob(node.inputs[0])], {0: _NEGATE})


def _sigmoid(build: LayerBuilder, node: Node) -> None:
    build.emit(node, "Sigmoid", [build.blob(node.inputs[0])], {})


def _clip(build: LayerBuilder, node: Node) -> None:
    source, *bounds = node.inputs
    low, high = (
        _bound(build, bounds[index] if index < len(bounds) else "", default)
        for index, default in ((0, _LOWEST), (1, _HIGHEST))
    )
    build.emit(node, "Clip", [build.blob(source)], {0: low, 1: high})


def _bound(build: LayerBuilder, name: str, default: float) -> float:
    if not name:
        return default
    value = build.graph.scalar(name)
    if value is None:
        raise ValueError("a clip between values that are no numbers")
    return value


def _join(build: LayerBuilder, node: Node) -> None:
    blobs = [build.blob(name) for name in node.inputs]
    _require_channels(node)
    if len({blob.scale for blob in blobs}) > 1:
        raise ValueError("it joins tensors of different sizes")
    shape = (sum(blob.channels for blob in blobs), blobs[0].scale)
    build.emit(node, "Concat", blobs, {0: 0}, shape=shape)


def _split(build: LayerBuilder, node: Node) -> None:
    source = build.blob(node.inputs[0])
    _require_channels(node)
    sizes = _part_sizes(build, node, source)
    if sum(sizes) != source.channels or min(sizes) < 1:
        raise ValueError(f"parts of {sizes} channels of {source.channels}")
    parameters: dict[int, Parameter] = {0: tuple(sizes), 1: 0}
    shapes = [(size, source.scale) for size in sizes]
    build.emit_many(node, "Slice", [source], parameters, shapes=shapes)


def _part_sizes(build: LayerBuilder, node: Node, source: Blob) -> list[int]:
    if len(node.inputs) > 1:
        return [int(size) for size in build.graph.constants[node.inputs[1]]]
    count = len(node.outputs)
    if source.channels % count:
        raise ValueError(f"{count} equal parts of {source.channels} channels")
    return [source.channels // count] * count


def _require_channels(node: Node) -> None:
    axis: Any = node.attributes.get("axis")
    if axis != 1:
        raise ValueError(f"{node.operator} along another axis than the channels")


ARITHMETIC: Mapping[str, Callable[[LayerBuilder, Node], None]] = {
    **dict.fromkeys(_BINARY, _combine),
    "Neg": _negate,
    "Sigmoid": _sigmoid,
    "Clip": _clip,
    "Concat": _join,
    "Split": _split,
}
