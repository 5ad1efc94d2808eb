"""Convert the network of an artifact to layers of ncnn.

The operators of RRDBNet and SRVGGNetCompact are converted. Channels and sizes of all tensors are
checked, since ncnn does not check them: it would read beyond the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from restora.artifact import Artifact, ArtifactInfo
from restora.backends.ncnn.frame import FramedGraph, PictureFrame, split_frame
from restora.backends.ncnn.layers import Layer, Parameter, Weights
from restora.backends.ncnn.onnx_graph import Array, Graph, Node, read_graph
from restora.errors import MissingBackendError

# names of the community's files (Real-ESRGAN-ncnn-vulkan, Upscayl)
DATA, RESULT = "data", "output"
_ADD, _MULTIPLY = 0, 2  # of BinaryOp
_SUM = 1  # of Eltwise
_NEAREST = 1  # of Interp
_RELU, _LEAKY = 1, 2  # activations of Convolution
_MAX_CHANNELS = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class NcnnNetwork:
    """A network between images of three planes.

    layers: from the blob DATA to the blob RESULT
    frame: how images become DATA, and RESULT becomes images
    features: the blob of the tensor that was asked for
    """

    layers: tuple[Layer, ...]
    frame: PictureFrame
    features: str | None = None


def network_from_artifact(artifact: Artifact, *, features: str | None = None) -> NcnnNetwork:
    """Convert the graph of an FP32 artifact.

    features: a tensor of the graph whose blob is needed, because the network is cut there

    Raises MissingBackendError if its precision or an operator is not supported.
    """
    info = artifact.info
    if info.precision != "fp32":
        raise MissingBackendError(f"ncnn runs fp32 artifacts, {info.model} is in {info.precision}")
    try:
        graph = read_graph(artifact)
        framed = split_frame(graph, info.io)
        converter = _Converter(graph, framed, info)
        layers = converter.convert()
        blob = None if features is None else converter.blob_of(features)
    except (ValueError, KeyError, IndexError) as error:
        raise MissingBackendError(
            f"ncnn runs upsamplers of the architectures RRDBNet and SRVGGNetCompact, and "
            f"{info.model} cannot be converted: {error}"
        ) from error
    return NcnnNetwork(tuple(layers), framed.frame, blob)


@dataclass(frozen=True, slots=True)
class _Blob:
    """scale: its side divided by the side of the image."""

    name: str
    channels: int
    scale: Fraction


class _Converter:
    def __init__(self, graph: Graph, framed: FramedGraph, info: ArtifactInfo) -> None:
        self._graph, self._framed, self._info = graph, framed, info
        self._blobs = {framed.data: _Blob(DATA, 3, Fraction(1))}
        self._layers = [Layer("Input", (), (DATA,))]
        # tensors that are another tensor times a number, which the addition behind them applies
        self._scaled: dict[str, tuple[str, float]] = {}
        self._converters: dict[str, Callable[[Node], None]] = {
            "Conv": self._conv,
            "LeakyRelu": self._activation,
            "Relu": self._activation,
            "PRelu": self._prelu,
            "Concat": self._concat,
            "Add": self._add,
            "BatchNormalization": self._batch_normalization,
            "Resize": self._resize,
            "DepthToSpace": self._pixel_shuffle,
        }

    def convert(self) -> list[Layer]:
        for node in self._framed.body:
            if node.operator not in self._converters:
                raise ValueError(f"it holds the operator {node.operator}")
            self._converters[node.operator](node)
        result = self._blobs[self._framed.result]
        right = result.channels == 3 and result.scale == self._info.scale
        if not right or result.name == DATA:
            raise ValueError(
                f"it must enlarge three channels {self._info.scale} times, it gives "
                f"{result.channels} channels, {result.scale} times as large"
            )
        names = {result.name: RESULT}
        return [
            replace(
                layer,
                inputs=tuple(names.get(name, name) for name in layer.inputs),
                outputs=tuple(names.get(name, name) for name in layer.outputs),
            )
            for layer in self._layers
        ]

    def blob_of(self, tensor: str) -> str:
        """The blob of a tensor between layers, after convert."""
        return self._blobs[tensor].name

    def _emit(
        self,
        node: Node,
        kind: str,
        inputs: list[_Blob],
        parameters: dict[int, Parameter],
        *weights: Weights,
        shape: tuple[int, Fraction] | None = None,
    ) -> None:
        """Add a layer. shape: channels and scale of its result; by default those of its input."""
        channels, scale = shape or (inputs[0].channels, inputs[0].scale)
        # an image whose sides are multiples of size_multiple has whole sides everywhere
        if (scale * self._info.size_multiple).denominator != 1 or not 0 < channels <= _MAX_CHANNELS:
            raise ValueError(f"{node.operator} gives {channels} channels, {scale} times as large")
        name = f"blob_{len(self._layers)}"
        names = tuple(blob.name for blob in inputs)
        self._layers.append(Layer(kind, names, (name,), parameters, weights))
        self._blobs[node.outputs[0]] = _Blob(name, channels, scale)

    def _floats(self, name: str, shape: tuple[int, ...] | None = None) -> Array:
        values = self._graph.constants[name]
        if values.dtype != np.float32 or (shape is not None and values.shape != shape):
            raise ValueError(f"{name[:80]!r} is {values.dtype} of shape {values.shape}")
        return values

    def _conv(self, node: Node) -> None:
        source = self._blobs[node.inputs[0]]
        weight = self._floats(node.inputs[1])
        channels, side = weight.shape[0], weight.shape[-1]
        if weight.shape != (channels, source.channels, side, side):
            raise ValueError(f"a kernel of shape {weight.shape} for {source.channels} channels")
        stride, pad = (
            _same(node, name, count, default)
            for name, count, default in (("strides", 2, 1), ("pads", 4, 0))
        )
        given = node.attributes
        plain = given.get("group", 1) == 1 and _same(node, "dilations", 2, 1) == 1
        plain &= given.get("auto_pad", b"NOTSET") == b"NOTSET"
        if not plain or stride < 1 or not 0 < side - 2 * pad <= stride:
            raise ValueError(
                f"a convolution with the attributes {sorted(given)} and a kernel of {side}"
            )
        weights = [Weights(weight, tagged=True)]
        if len(node.inputs) > 2:
            weights.append(Weights(self._floats(node.inputs[2], (channels,))))
        parameters: dict[int, Parameter] = {0: channels, 1: side, 3: stride, 4: pad}
        parameters |= {5: len(weights) - 1, 6: weight.size}
        shape = (channels, source.scale / stride)
        self._emit(node, "Convolution", [source], parameters, *weights, shape=shape)

    def _activation(self, node: Node) -> None:
        """Part of the convolution before it, unless something else reads that too."""
        source = self._blobs[node.inputs[0]]
        slope = float(node.attributes.get("alpha", 0.01)) if node.operator == "LeakyRelu" else 0.0
        last = self._layers[-1]
        alone = len(self._graph.consumers[node.inputs[0]]) == 1
        if alone and last.kind == "Convolution" and last.outputs == (source.name,):
            last.parameters |= {9: _LEAKY, 10: (slope,)} if slope else {9: _RELU}
            self._blobs[node.outputs[0]] = source
        else:
            self._emit(node, "ReLU", [source], {0: slope})

    def _prelu(self, node: Node) -> None:
        source = self._blobs[node.inputs[0]]
        slopes = self._floats(node.inputs[1], (1, source.channels, 1, 1))
        weights = Weights(slopes.reshape(-1))
        self._emit(node, "PReLU", [source], {0: source.channels}, weights)

    def _concat(self, node: Node) -> None:
        sources = [self._blobs[name] for name in node.inputs]
        (scale,) = {blob.scale for blob in sources}
        if node.attributes.get("axis") != 1:
            raise ValueError("it joins tensors along another axis than the channels")
        channels = sum(blob.channels for blob in sources)
        self._emit(node, "Concat", sources, {0: 0}, shape=(channels, scale))

    def _add(self, node: Node) -> None:
        terms = [self._scaled.get(name, (name, 1.0)) for name in node.inputs]
        first, second = (self._blobs[name] for name, _ in terms)
        if (first.channels, first.scale) != (second.channels, second.scale):
            raise ValueError("it adds tensors of different shapes")
        coefficients = tuple(factor for _, factor in terms)
        if coefficients == (1.0, 1.0):
            self._emit(node, "BinaryOp", [first, second], {0: _ADD})
        else:
            self._emit(node, "Eltwise", [first, second], {0: _SUM, 1: coefficients})

    def _batch_normalization(self, node: Node) -> None:
        """A product with one number, as in RRDBNet."""
        source = self._blobs[node.inputs[0]]
        shape = (source.channels,)
        weight, bias, mean, variance = (self._floats(name, shape) for name in node.inputs[1:5])
        factors = weight / np.sqrt(variance + np.float32(node.attributes.get("epsilon", 1e-5)))
        factor = float(factors[0])
        if bias.any() or mean.any() or not (factors == factors[0]).all() or not factor:
            raise ValueError("a normalization that is no product with one number")
        consumers = self._graph.consumers.get(node.outputs[0], [])
        if [consumer.operator for consumer in consumers] == ["Add"]:
            self._scaled[node.outputs[0]] = (node.inputs[0], factor)
        else:
            self._emit(node, "BinaryOp", [source], {0: _MULTIPLY, 1: 1, 2: factor})

    def _resize(self, node: Node) -> None:
        source = self._blobs[node.inputs[0]]
        scales = self._floats(node.inputs[2], (4,)).tolist()
        given = node.attributes
        nearest = (
            given.get("mode", b"nearest") == b"nearest"
            and given.get("coordinate_transformation_mode") == b"asymmetric"
            and given.get("nearest_mode") == b"floor"
        )
        factor = scales[2]
        if not nearest or scales != [1, 1, factor, factor] or factor not in range(1, 17):
            raise ValueError("a resize that does not repeat pixels")
        parameters: dict[int, Parameter] = {0: _NEAREST, 1: float(factor), 2: float(factor)}
        shape = (source.channels, source.scale * int(factor))
        self._emit(node, "Interp", [source], parameters, shape=shape)

    def _pixel_shuffle(self, node: Node) -> None:
        source = self._blobs[node.inputs[0]]
        factor = int(node.attributes["blocksize"])
        if node.attributes.get("mode") != b"CRD" or factor < 1 or source.channels % factor**2:
            raise ValueError(f"a pixel shuffle of {source.channels} channels by {factor}")
        shape = (source.channels // factor**2, source.scale * factor)
        self._emit(node, "PixelShuffle", [source], {0: factor}, shape=shape)


def _same(node: Node, name: str, count: int, default: int) -> int:
    """The value that all `count` elements of an attribute have."""
    values = list(node.attributes.get(name, [default] * count))
    if len(values) != count or len(set(values)) != 1:
        raise ValueError(f"a convolution with {name} {values}")
    return int(values[0])
