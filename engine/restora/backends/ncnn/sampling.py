"""Operators that change the size of their input, or read more than one pixel of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from restora.backends.ncnn.builder import LayerBuilder
from restora.backends.ncnn.layers import Parameter, Weights
from restora.backends.ncnn.onnx_graph import Node

_NEAREST, _BILINEAR = 1, 2  # of Interp
_MAX, _MEAN = 0, 1  # of Pooling
_VALID = 1  # of Pooling: only the padding that is given
_MEAN_OVER = 3  # of Reduction
_ROWS, _COLUMNS = 1, 2  # axes of Reduction


def _resize(build: LayerBuilder, node: Node) -> None:
    source = build.blob(node.inputs[0])
    scales = build.floats(node.inputs[2], (4,)).tolist()
    given = node.attributes
    mode = (given.get("mode", b"nearest"), given.get("coordinate_transformation_mode"))
    repeats = mode == (b"nearest", b"asymmetric") and given.get("nearest_mode") == b"floor"
    smooth = mode == (b"linear", b"half_pixel")
    factor = scales[2]
    if not (repeats or smooth) or scales != [1, 1, factor, factor] or factor not in range(1, 17):
        raise ValueError("a resize that neither repeats pixels nor is bilinear")
    kind = _NEAREST if repeats else _BILINEAR
    parameters: dict[int, Parameter] = {0: kind, 1: float(factor), 2: float(factor)}
    shape = (source.channels, source.scale * int(factor))
    build.emit(node, "Interp", [source], parameters, shape=shape)


def _shuffle_pixels(build: LayerBuilder, node: Node) -> None:
    source = build.blob(node.inputs[0])
    factor = int(node.attributes["blocksize"])
    if node.attributes.get("mode") != b"CRD" or factor < 1 or source.channels % factor**2:
        raise ValueError(f"a pixel shuffle of {source.channels} channels by {factor}")
    shape = (source.channels // factor**2, source.scale * factor)
    build.emit(node, "PixelShuffle", [source], {0: factor}, shape=shape)


def _pool(build: LayerBuilder, node: Node) -> None:
    """Largest values around each pixel, or means of square blocks."""
    source = build.blob(node.inputs[0])
    given = node.attributes
    height, width = given["kernel_shape"]
    strides, pads = list(given.get("strides", [1, 1])), list(given.get("pads", [0, 0, 0, 0]))
    plain = given.get("auto_pad", b"NOTSET") == b"NOTSET" and not given.get("ceil_mode", 0)
    plain &= list(given.get("dilations", [1, 1])) == [1, 1]
    if node.operator == "MaxPool":
        around = [height // 2, width // 2] * 2
        plain &= strides == [1, 1] and pads == around and height % 2 == width % 2 == 1
        kind, stride = _MAX, 1
    else:
        plain &= height == width and strides == [height, width] and not any(pads)
        kind, stride = _MEAN, height
    if not plain:
        raise ValueError(f"a {node.operator} of {height} x {width} with strides {strides}")
    parameters: dict[int, Parameter] = {
        0: kind, 1: width, 11: height, 2: stride, 12: stride,
        3: pads[1], 13: pads[0], 14: pads[3], 15: pads[2], 5: _VALID,
    }  # fmt: skip
    shape = (source.channels, source.scale / stride)
    build.emit(node, "Pooling", [source], parameters, shape=shape)


def _average(build: LayerBuilder, node: Node) -> None:
    """The mean of the channels, as a convolution; or of each channel."""
    source = build.blob(node.inputs[0])
    axes = list(node.attributes.get("axes", []))
    if node.attributes.get("keepdims", 1) != 1 or axes not in ([1], [2, 3]):
        raise ValueError(f"a mean over the axes {axes}")
    if axes == [1]:
        weight = np.full((1, source.channels, 1, 1), 1 / source.channels, np.float32)
        parameters: dict[int, Parameter] = {0: 1, 1: 1, 6: weight.size}
        weights = Weights(weight, tagged=True)
        build.emit(node, "Convolution", [source], parameters, weights, shape=(1, source.scale))
    else:
        parameters = {0: _MEAN_OVER, 1: 0, 3: (_ROWS, _COLUMNS), 4: 1, 5: 1}
        build.emit(node, "Reduction", [source], parameters, shape=(source.channels, Fraction(0)))


SAMPLING: Mapping[str, Callable[[LayerBuilder, Node], None]] = {
    "Resize": _resize,
    "DepthToSpace": _shuffle_pixels,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "ReduceMean": _average,
}
