"""Quantize convolutions of an FP32 graph with Q/DQ pairs.

ONNX Runtime, OpenVINO and TensorRT 8.6 to 11 support this form: opset 17, symmetric quantization
with zero points of 0, activations per tensor, weights per output channel. Biases and everything
between the convolutions stay in FP32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from restora_calibration.int8.layers import Layer, find_makers

LARGEST = 127  # symmetric: -128 is not used
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A layer assignment with its value ranges.

    layers: names of the INT8 convolutions
    ranges: magnitude that 127 represents, by source tensor
    biases: corrected biases, by name of the convolution
    residuals: the skip connections of dense blocks use the INT8 values too
    """

    layers: frozenset[str]
    ranges: Mapping[str, float]
    biases: Mapping[str, Array] = field(default_factory=dict)
    residuals: bool = False


def quantize_graph(model: onnx.ModelProto, layers: list[Layer], recipe: Recipe) -> onnx.ModelProto:
    """Quantize a copy of `model` according to `recipe`. The copy has no metadata.

    layers: all layers of the graph, from find_layers
    """
    chosen = [layer for layer in layers if layer.name in recipe.layers]
    return _Writer(model, chosen, recipe).write()


def quantize_weight(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Quantize per output channel: INT8 values and (out,) scales, weight ~ values * scale."""
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    scale = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    values = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return np.clip(values, -LARGEST, LARGEST).astype(np.int8), scale


class _Writer:
    def __init__(self, model: onnx.ModelProto, chosen: list[Layer], recipe: Recipe) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        del self.model.metadata_props[:]
        self.recipe = recipe
        self.by_node = {layer.node: layer for layer in chosen}
        self.tensors = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.makers = find_makers(self.model)
        self.nodes: list[onnx.NodeProto] = []
        self.rounded: dict[tuple[str, float], str] = {}

    def write(self) -> onnx.ModelProto:
        graph = self.model.graph
        skips = self._find_skips() if self.recipe.residuals else {}
        for index, node in enumerate(list(graph.node)):
            layer = self.by_node.get(index)
            if layer is not None:
                self._quantize(node, layer)
            elif node.output[0] in skips:
                position = skips[node.output[0]]
                source = node.input[position]
                node.input[position] = self._round(source, self.recipe.ranges[source])
            self.nodes.append(node)
        used = {name for node in self.nodes for name in node.input}
        used |= {output.name for output in graph.output}
        kept = [node for node in self.nodes if any(name in used for name in node.output)]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(kept)
        used = {name for node in kept for name in node.input}
        graph.initializer.extend(t for name, t in self.tensors.items() if name in used)
        return self.model

    def _quantize(self, node: onnx.NodeProto, layer: Layer) -> None:
        magnitude = max(self.recipe.ranges[source] for source in layer.sources)
        node.input[0] = self._carry(layer.input, magnitude)
        node.input[1] = self._weight(layer)
        bias = self.recipe.biases.get(layer.name)
        if bias is not None:
            node.input[2] = self._constant(f"{layer.name}.bias_int8", bias)

    def _carry(self, name: str, magnitude: float) -> str:
        """Quantize a tensor. Returns the name of the result.

        Concatenations and upsampling are repeated behind the quantization, so they move a quarter
        of the bytes.
        """
        maker = self.makers.get(name)
        if maker is None or maker.op_type not in ("Concat", "Resize"):
            return self._round(name, magnitude)
        key = (name, magnitude)
        if key not in self.rounded:
            twin = onnx.NodeProto()
            twin.CopyFrom(maker)
            twin.name, twin.output[0] = f"{name}_int8_carrier", f"{name}_carried"
            parts = len(maker.input) if maker.op_type == "Concat" else 1
            for index in range(parts):
                twin.input[index] = self._carry(maker.input[index], magnitude)
            self.nodes.append(twin)
            self.rounded[key] = self._pair(twin.output[0], name, magnitude)
        return self.rounded[key]

    def _round(self, name: str, magnitude: float) -> str:
        key = (name, magnitude)
        if key not in self.rounded:
            self.rounded[key] = self._pair(name, name, magnitude)
        return self.rounded[key]

    def _pair(self, source: str, name: str, magnitude: float) -> str:
        """Add a Q/DQ pair. Returns the name of its result."""
        stem = f"{name}_int8"
        if f"{stem}_scale" in self.tensors:
            stem = f"{stem}_{len(self.rounded)}"
        scale = self._constant(f"{stem}_scale", np.array(magnitude / LARGEST, np.float32))
        zero = self._constant(f"{stem}_zero", np.array(0, np.int8))
        self.nodes += [
            helper.make_node("QuantizeLinear", [source, scale, zero], [stem], f"q_{stem}"),
            helper.make_node("DequantizeLinear", [stem, scale, zero], [f"{stem}_dq"], f"dq_{stem}"),
        ]
        return f"{stem}_dq"

    def _weight(self, layer: Layer) -> str:
        values, scale = quantize_weight(numpy_helper.to_array(self.tensors[layer.weight]))
        stem = f"{layer.name}.weight_int8"
        inputs = [
            self._constant(stem, values),
            self._constant(f"{stem}_scale", scale),
            self._constant(f"{stem}_zero", np.zeros(len(scale), np.int8)),
        ]
        self.nodes.append(
            helper.make_node("DequantizeLinear", inputs, [f"{stem}_dq"], f"dq_{stem}", axis=0)
        )
        return f"{stem}_dq"

    def _constant(self, name: str, values: NDArray[np.float32 | np.int8]) -> str:
        self.tensors[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def _find_skips(self) -> dict[str, int]:
        """Map the output of each addition in a dense block to the index of the block's input.

        The outer and the global residual are excluded, since their convolutions have other inputs.
        """
        by_output = {
            self.model.graph.node[index].output[0]: layer for index, layer in self.by_node.items()
        }
        found = {}
        for node in self.model.graph.node:
            if node.op_type != "Add":
                continue
            for position in (0, 1):
                layer = by_output.get(node.input[1 - position])
                if layer is not None and node.input[position] in layer.sources:
                    found[node.output[0]] = position
        return found
