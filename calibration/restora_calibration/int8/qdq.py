"""Quantize convolutions of an FP32 or FP16 graph with Q/DQ pairs.

Symmetric quantization with zero points of 0, activations per tensor, weights per output channel (in
FP8, per tensor). Biases and everything between the convolutions keep the type of the graph. ONNX
Runtime, OpenVINO and TensorRT 8.6 to 11 support this form in INT8 around FP32 (opset 17). FP16
around INT8, and FP8, need opset 19 and TensorRT 10 or 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, version_converter

from restora.errors import ModelError
from restora_calibration.int8.equalize import Equalization, scale_channels
from restora_calibration.int8.formats import FORMATS, Array, Format, FormatName, quantize_weight
from restora_calibration.int8.layers import Layer, find_makers

OPSET_OF_FP16 = 19


@dataclass(frozen=True, slots=True)
class Recipe:
    """A layer assignment with its value ranges.

    layers: names of the convolutions in 8 bits
    ranges: magnitude that the largest value represents, by source tensor
    biases: corrected biases, by name of the convolution
    weights: rounded weights, (out, in, kh, kw), by name of the convolution; others are rounded to
        the nearest step
    factors: of the channels; ranges, biases and weights belong to the scaled graph
    residuals: the skip connections of dense blocks use the 8-bit values too
    format: "int8" or "fp8"
    """

    layers: frozenset[str]
    ranges: Mapping[str, float]
    biases: Mapping[str, Array] = field(default_factory=dict)
    weights: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)
    factors: Equalization = field(default_factory=Equalization)
    residuals: bool = False
    format: FormatName = "int8"


def quantize_graph(model: onnx.ModelProto, layers: list[Layer], recipe: Recipe) -> onnx.ModelProto:
    """Quantize a copy of `model` according to `recipe`. The copy has no metadata.

    layers: all layers of the graph, from find_layers

    Raises ModelError if FP16 layers or FP8 are asked of a graph before opset 19.
    """
    chosen = [layer for layer in layers if layer.name in recipe.layers]
    return _Writer(scale_channels(model, layers, recipe.factors.layers), chosen, recipe).write()


def raise_to_opset19(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for Q/DQ pairs with FP16 or FP8 types. It has no metadata."""
    raised = version_converter.convert_version(model, OPSET_OF_FP16)
    raised.ir_version = 9  # belongs to opset 19
    del raised.metadata_props[:], raised.graph.value_info[:]
    nodes = list(raised.graph.node)
    del raised.graph.node[:]
    for node in nodes:
        node.ClearField("doc_string")
        if node.op_type == "Constant":  # TensorRT reads axes from initializers only
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            raised.graph.initializer.append(tensor)
        else:
            raised.graph.node.append(node)
    return raised


class _Writer:
    def __init__(self, model: onnx.ModelProto, chosen: list[Layer], recipe: Recipe) -> None:
        self.model = model
        del self.model.metadata_props[:]
        self.recipe = recipe
        self.format: Format = FORMATS[recipe.format]
        self.by_node = {layer.node: layer for layer in chosen}
        self.tensors = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.dtype = self._type_around(chosen)
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
            name = f"{layer.name}.bias_{self.format.name}"
            node.input[2] = self._constant(name, bias.astype(self.dtype))

    def _type_around(self, chosen: list[Layer]) -> Any:
        """The NumPy type of what is around the 8 bits: that of the weights."""
        types = {self.tensors[layer.weight].data_type for layer in chosen}
        if len(types) > 1:
            raise ModelError("the layers to quantize are partly in FP16 and partly in FP32")
        half = types == {onnx.TensorProto.FLOAT16}
        (opset,) = (entry.version for entry in self.model.opset_import)
        if (half or self.format.name == "fp8") and chosen and opset < OPSET_OF_FP16:
            raise ModelError(
                f"FP16 around 8 bits, and FP8, need opset {OPSET_OF_FP16}, the graph has {opset}"
            )
        return np.float16 if half else np.float32

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
            twin.name = f"{name}_{self.format.name}_carrier"
            twin.output[0] = f"{name}_carried"
            parts = len(maker.input) if maker.op_type == "Concat" else 1
            for index in range(parts):
                twin.input[index] = self._carry(maker.input[index], magnitude)
            self.nodes.append(twin)
            self.rounded[key] = self._pair(twin.output[0], name, magnitude)
        return self.rounded[key]

    def _round(self, name: str, magnitude: float) -> str:
        key = (name, magnitude)
        if key not in self.rounded:
            self.rounded[key] = self._pair(self._branch(name), name, magnitude)
        return self.rounded[key]

    def _branch(self, name: str) -> str:
        """Divide a tensor by its own factors, if it has any. Returns the name of the result."""
        factors = self.recipe.factors.branches.get(name)
        if factors is None:
            return name
        inverse = (1 / factors.reshape(1, -1, 1, 1)).astype(self.dtype)
        constant = self._constant(f"{name}_{self.format.name}_factors", inverse)
        result = f"{name}_{self.format.name}_branch"
        self.nodes.append(helper.make_node("Mul", [name, constant], [result], f"mul_{result}"))
        return result

    def _pair(self, source: str, name: str, magnitude: float) -> str:
        """Add a Q/DQ pair. Returns the name of its result."""
        stem = f"{name}_{self.format.name}"
        if f"{stem}_scale" in self.tensors:
            stem = f"{stem}_{len(self.rounded)}"
        scale = self._constant(f"{stem}_scale", self.format.scale_of(magnitude, self.dtype))
        zero = self._constant(f"{stem}_zero", np.zeros((), self.format.dtype))
        self.nodes += [
            helper.make_node("QuantizeLinear", [source, scale, zero], [stem], f"q_{stem}"),
            helper.make_node("DequantizeLinear", [stem, scale, zero], [f"{stem}_dq"], f"dq_{stem}"),
        ]
        return f"{stem}_dq"

    def _weight(self, layer: Layer) -> str:
        weight = numpy_helper.to_array(self.tensors[layer.weight]).astype(np.float32)
        factors = self.recipe.factors.layers.get(layer.name)
        if factors is not None:
            weight = weight * factors.rounded[None, :, None, None]
        values, scale = quantize_weight(weight, self.format, self.dtype)
        values = self.recipe.weights.get(layer.name, values)
        stem = f"{layer.name}.weight_{self.format.name}"
        inputs = [
            self._constant(stem, values),
            self._constant(f"{stem}_scale", scale),
            self._constant(f"{stem}_zero", np.zeros(scale.shape, self.format.dtype)),
        ]
        node = helper.make_node("DequantizeLinear", inputs, [f"{stem}_dq"], f"dq_{stem}")
        if self.format.per_channel:
            node.attribute.append(helper.make_attribute("axis", 0))
        self.nodes.append(node)
        return f"{stem}_dq"

    def _constant(self, name: str, values: NDArray[Any]) -> str:
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
