"""Layers of ncnn that are built one after another, with the channels and sizes of their results.

ncnn does not check shapes: with a wrong one it would read beyond the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from restora.backends.ncnn.layers import Layer, Parameter, Weights
from restora.backends.ncnn.onnx_graph import Array, Graph, Node

# names of the community's files (Real-ESRGAN-ncnn-vulkan, Upscayl)
DATA, RESULT = "data", "output"
_MAX_CHANNELS = 1 << 14


@dataclass(frozen=True, slots=True)
class Blob:
    """scale: its side divided by the side of the image; 0: it has a single value per channel"""

    name: str
    channels: int
    scale: Fraction


class LayerBuilder:
    """Layers, and the blob that each tensor of a graph became.

    data: the tensor that becomes the blob DATA
    channels: of it
    multiple: the sides of images are multiples of it

    scaled: tensors that are another tensor times a number, which the addition behind them applies
    """

    def __init__(self, graph: Graph, data: str, *, channels: int, multiple: int) -> None:
        self.graph, self._multiple = graph, multiple
        self.layers = [Layer("Input", (), (DATA,))]
        self.scaled: dict[str, tuple[str, float]] = {}
        self._blobs = {data: Blob(DATA, channels, Fraction(1))}

    def blob(self, tensor: str) -> Blob:
        """Raises KeyError if no layer made the tensor."""
        return self._blobs[tensor]

    def rename(self, tensor: str, blob: Blob) -> None:
        """The tensor is a blob that is there already."""
        self._blobs[tensor] = blob

    def emit(
        self,
        node: Node,
        kind: str,
        inputs: list[Blob],
        parameters: dict[int, Parameter],
        *weights: Weights,
        shape: tuple[int, Fraction] | None = None,
    ) -> None:
        """Add a layer. shape: channels and scale of its result; by default those of its input."""
        shape = shape or (inputs[0].channels, inputs[0].scale)
        self.emit_many(node, kind, inputs, parameters, *weights, shapes=[shape])

    def emit_many(
        self,
        node: Node,
        kind: str,
        inputs: list[Blob],
        parameters: dict[int, Parameter],
        *weights: Weights,
        shapes: list[tuple[int, Fraction]],
    ) -> None:
        """Add a layer with several results, of these channels and scales."""
        names = []
        for number, (tensor, (channels, scale)) in enumerate(
            zip(node.outputs, shapes, strict=True)
        ):
            # an image whose sides are multiples has whole sides everywhere
            if (scale * self._multiple).denominator != 1 or not 0 < channels <= _MAX_CHANNELS:
                raise ValueError(
                    f"{node.operator} gives {channels} channels, {scale} times as large"
                )
            # "_" and a number would be the name of a copy, which several layers read
            name = f"blob_{len(self.layers)}" + (f".{number}" if number else "")
            names.append(name)
            self._blobs[tensor] = Blob(name, channels, scale)
        sources = tuple(blob.name for blob in inputs)
        self.layers.append(Layer(kind, sources, tuple(names), parameters, weights))

    def floats(self, name: str, shape: tuple[int, ...] | None = None) -> Array:
        """A constant in FP32. Raises ValueError for another type or shape, KeyError if it is no
        constant."""
        values = self.graph.constants[name]
        if values.dtype != np.float32 or (shape is not None and values.shape != shape):
            raise ValueError(f"{name[:80]!r} is {values.dtype} of shape {values.shape}")
        return values

    def finish(self, tensor: str) -> list[Layer]:
        """All layers; the tensor is the blob RESULT."""
        names = {self.blob(tensor).name: RESULT}
        return [
            replace(
                layer,
                inputs=tuple(names.get(name, name) for name in layer.inputs),
                outputs=tuple(names.get(name, name) for name in layer.outputs),
            )
            for layer in self.layers
        ]
