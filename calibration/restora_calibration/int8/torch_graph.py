"""Run the graph of an artifact in PyTorch, so that its error has gradients.

Rounding has the gradient of the identity, and values that are clipped have none: the
straight-through estimator of Bengio et al., arXiv:1308.3432.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor

from restora.artifact.tensors import INPUT, OUTPUT
from restora.errors import ModelError
from restora_calibration.int8.layers import CARRIERS, find_makers

Inputs: TypeAlias = Sequence[Any]  # tensors; None for an optional input that is left out
Attributes: TypeAlias = Mapping[str, Any]
Operator: TypeAlias = Callable[[Attributes, Inputs], Tensor]


class TorchGraph:
    """A graph of a network of convolutions in FP32, or in INT8 and FP32, on the CPU.

    trained: names of the initializers that each run takes as arguments

    Raises ModelError if the graph has an operator, or a mode of one, that this does not know.
    """

    def __init__(self, model: onnx.ModelProto, trained: Sequence[str] = ()) -> None:
        self._fixed: dict[str, Any] = {
            tensor.name: _tensor_of(tensor)
            for tensor in model.graph.initializer
            if tensor.name not in trained
        }
        self._steps: list[tuple[tuple[str, ...], str, Callable[[Inputs], Tensor]]] = []
        self._rounded: dict[str, float] = {}  # tensors of whole steps in INT8, with their scales
        needed = _find_needed(model)
        for node in model.graph.node:
            if node.output[0] not in needed:
                continue
            run = self._choose(node)
            if all(not name or name in self._fixed for name in node.input):
                self._fixed[node.output[0]] = run([self._fixed.get(name) for name in node.input])
            else:
                self._steps.append((tuple(node.input), node.output[0], run))
        self._last = {name: index for index, step in enumerate(self._steps) for name in step[0]}

    def run(self, batch: Tensor, trained: Mapping[str, Tensor] | None = None) -> Tensor:
        """The images that the artifact returns, in its value range, as float32.

        batch: (n, height, width, 3), float32 in the value range of the artifact's input
        trained: the initializers to train, by name; weights in INT8 as float32 in steps
        """
        values: dict[str, Any] = {INPUT: batch, **(trained or {})}
        for index, (inputs, output, run) in enumerate(self._steps):
            result = run([values.get(name, self._fixed.get(name)) for name in inputs])
            for name in inputs:  # frees what no later step reads
                if self._last[name] == index:
                    values.pop(name, None)
            values[output] = result
        restored: Tensor = values[OUTPUT]
        return restored

    def _choose(self, node: onnx.NodeProto) -> Callable[[Inputs], Tensor]:
        """How a node is computed. In INT8, values stay multiples of their scale, in float32."""
        known = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        source, output = node.input[0], node.output[0]
        if node.op_type in CARRIERS:
            parts = node.input if node.op_type == "Concat" else node.input[:1]
            scales = {self._rounded.get(name) for name in parts}
            if len(scales) == 1 and source in self._rounded:
                self._rounded[output] = self._rounded[source]
        if node.op_type == "QuantizeLinear":
            scale = float(self._fixed[node.input[1]])
            again = self._rounded.get(source) == scale
            self._rounded[output] = scale
            return _pass if again else partial(_round, scale)
        if node.op_type == "DequantizeLinear" and source in self._rounded:
            self._rounded[output] = self._rounded[source]
            return _pass
        if node.op_type not in _OPERATORS:
            raise ModelError(
                f"fine-tuning knows no operator {node.op_type}, which computes {output}: it knows "
                f"{', '.join(sorted({*_OPERATORS, 'QuantizeLinear'}))}"
            )
        _require_known_mode(node, known)
        return partial(_OPERATORS[node.op_type], known)


def _require_known_mode(node: onnx.NodeProto, known: Attributes) -> None:
    found: Any
    if node.op_type == "Resize":
        names = ("mode", "coordinate_transformation_mode", "nearest_mode")
        found = [known.get(name) for name in names]
        passes = found == [b"nearest", b"asymmetric", b"floor"] and len(node.input) == 3
    elif node.op_type == "DepthToSpace":
        found = known.get("mode")
        passes = found == b"CRD"
    elif node.op_type == "Conv":
        found = known.get("pads", [0])
        passes = len(set(found)) == 1 and known.get("auto_pad", b"NOTSET") == b"NOTSET"
    else:
        return
    if not passes:
        raise ModelError(
            f"fine-tuning knows {node.op_type} in the form that `restora export` writes only, got "
            f"{found} for {node.output[0]}"
        )


def _find_needed(model: onnx.ModelProto) -> set[str]:
    """The tensors that the restored image depends on."""
    makers = find_makers(model)
    needed: set[str] = set()
    waiting = [OUTPUT]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += makers[name].input if name in makers else ()
    return needed


def _tensor_of(proto: onnx.TensorProto) -> Tensor:
    tensor = torch.from_numpy(numpy_helper.to_array(proto).copy())
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _pass(inputs: Inputs) -> Tensor:
    value: Tensor = inputs[0]
    return value


def _round(scale: float, inputs: Inputs) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(inputs[0], scale, 0, -128, 127)


def _straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    return exact + (rounded - exact).detach()


def _dequantize(known: Attributes, inputs: Inputs) -> Tensor:
    steps, scale = inputs[0].float(), inputs[1]
    if scale.ndim:
        shape = [1] * steps.ndim
        shape[known.get("axis", 1)] = -1
        scale = scale.reshape(shape)
    weight: Tensor = _straight_through(steps, steps.round()) * scale
    return weight


def _cast(known: Attributes, inputs: Inputs) -> Tensor:
    value: Tensor = inputs[0].float()
    whole = known["to"] not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return _straight_through(value, value.trunc()) if whole else value


def _convolve(known: Attributes, inputs: Inputs) -> Tensor:
    value, weight, bias = (*inputs, None)[:3]
    strides, dilations = known.get("strides", 1), known.get("dilations", 1)
    padding = known.get("pads", [0])[0]
    return F.conv2d(value, weight, bias, strides, padding, dilations, known.get("group", 1))


def _clip(_known: Attributes, inputs: Inputs) -> Tensor:
    value, low, high = (*inputs, None, None)[:3]
    return torch.clamp(value, low, high)


def _resize(_known: Attributes, inputs: Inputs) -> Tensor:
    return F.interpolate(inputs[0], scale_factor=inputs[2][2:].tolist(), mode="nearest")


def _normalize(known: Attributes, inputs: Inputs) -> Tensor:
    value, weight, bias, mean, variance = inputs
    factor = weight / torch.sqrt(variance + known.get("epsilon", 1e-5))
    shift = bias - mean * factor
    normal: Tensor = value * factor.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)
    return normal


_OPERATORS: dict[str, Operator] = {
    "Add": lambda _, inputs: inputs[0] + inputs[1],
    "BatchNormalization": _normalize,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda known, inputs: torch.cat(list(inputs), known["axis"]),
    "Conv": _convolve,
    "DepthToSpace": lambda known, inputs: F.pixel_shuffle(inputs[0], known["blocksize"]),
    "DequantizeLinear": _dequantize,
    "LeakyRelu": lambda known, inputs: F.leaky_relu(inputs[0], known.get("alpha", 0.01)),
    "Mul": lambda _, inputs: inputs[0] * inputs[1],
    "PRelu": lambda _, inputs: F.prelu(inputs[0], inputs[1].flatten()),
    "Relu": lambda _, inputs: F.relu(inputs[0]),
    "Resize": _resize,
    "Transpose": lambda known, inputs: inputs[0].permute(known["perm"]),
}
