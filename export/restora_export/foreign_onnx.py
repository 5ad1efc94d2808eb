"""Read ONNX files of other exporters as lists of layers: the networks of this family, by weights.

Only operators that RRDBNet and SRVGGNetCompact consist of are known; anything else is refused. What
goes in and out is not told by the file: it must be RGB in 0..1, in NCHW layout, as PyTorch has it.
"""

from collections.abc import Callable
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from restora.artifact.load import MAX_ONNX_BYTES
from restora.artifact.onnx_wire import read_onnx_facts
from restora.errors import ArtifactError, CheckpointError
from restora.models.regular_file import shown
from restora_export.key_shapes import MAX_CHANNELS
from restora_export.layers import Layer, LayerKind, check_wiring
from restora_export.stored_tensor import StoredTensor

Constants: TypeAlias = dict[str, NDArray[Any]]
_MAX_FACTOR = 16
_FLOATS = (np.float32, np.float16, np.float64)


def read_foreign_onnx(stream: BinaryIO) -> list[Layer]:
    """Read a network. Raises CheckpointError."""
    stream.seek(0)
    data = stream.read(MAX_ONNX_BYTES)
    try:
        read_onnx_facts(data)  # which refuses what no network has, before memory is allocated
        model = onnx.load_from_string(data)
        constants = _read_constants(model.graph)
    except ArtifactError as error:
        raise CheckpointError(str(error)) from error
    except Exception as error:  # the classes of the errors of protobuf differ between versions
        raise CheckpointError("it is not an ONNX file, or a damaged one") from error
    inputs = [value.name for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise CheckpointError("it must have one input and one output")
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    layers = [Layer("input", inputs[0], (), (inputs[0],))]
    layers += [_layer_from(node, constants) for node in _without_clip(nodes, constants)]
    check_wiring(layers)
    return layers


def _read_constants(graph: onnx.GraphProto) -> Constants:
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].t.dims:
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Constant" and len(node.attribute) == 1:
            found[node.output[0]] = _scalar_of(node.attribute[0])
    return found


def _scalar_of(attribute: onnx.AttributeProto) -> NDArray[Any]:
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.array(value)


def _without_clip(nodes: list[onnx.NodeProto], constants: Constants) -> list[onnx.NodeProto]:
    """Without a last layer that clips to 0..1, as every artifact does itself."""
    if len(nodes) < 2 or nodes[-1].op_type != "Clip":
        return nodes
    limits = [constants[name].item() for name in nodes[-1].input[1:] if name in constants]
    limits = limits or [helper.get_attribute_value(part) for part in nodes[-1].attribute]
    if sorted(limits) != [0, 1]:
        raise _problem(nodes[-1], "it must clip to 0..1")
    return nodes[:-1]


def _layer_from(node: onnx.NodeProto, constants: Constants) -> Layer:
    if node.domain not in ("", "ai.onnx") or node.op_type not in _READERS:
        raise _problem(node, "this operator is part of no RRDBNet and no SRVGGNetCompact")
    if len(node.output) != 1:
        raise _problem(node, "it must have one output")
    try:
        return _READERS[node.op_type](node, constants)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise _problem(node, "its inputs or attributes are not those of a network") from error


def _convolution(node: onnx.NodeProto, constants: Constants) -> Layer:
    attributes = _attributes(node)
    weight = constants[node.input[1]]
    if len(node.input) != 3 or node.input[2] not in constants:
        raise _problem(node, "it must have a bias")
    bias = constants[node.input[2]]
    plain = (
        weight.ndim == 4
        and weight.shape[2:] == (3, 3)
        and bias.shape == weight.shape[:1]
        and attributes.get("pads") == [1, 1, 1, 1]
        and attributes.get("strides", [1, 1]) == [1, 1]
        and attributes.get("dilations", [1, 1]) == [1, 1]
        and attributes.get("group", 1) == 1
        and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
        and max(weight.shape) <= MAX_CHANNELS
    )
    if not plain:
        raise _problem(node, "it must be a 3x3 convolution with stride 1 and padding 1")
    return Layer(
        "convolution",
        *_names(node, [node.input[0]]),
        weight=_stored(node, weight),
        bias=_stored(node, bias),
    )


def _prelu(node: onnx.NodeProto, constants: Constants) -> Layer:
    slopes = constants[node.input[1]].reshape(-1)
    return Layer("prelu", *_names(node, [node.input[0]]), weight=_stored(node, slopes))


def _leaky(node: onnx.NodeProto, _: Constants) -> Layer:
    default = 0.01 if node.op_type == "LeakyRelu" else 0.0
    slope = float(_attributes(node).get("alpha", default))
    return Layer("leaky", *_names(node), slope=slope)


def _concat(node: onnx.NodeProto, _: Constants) -> Layer:
    if _attributes(node)["axis"] not in (1, -3):
        raise _problem(node, "it must join channels")
    return Layer("concat", *_names(node))


def _add(node: onnx.NodeProto, constants: Constants) -> Layer:
    if any(name in constants for name in node.input):
        raise _problem(node, "it must add two tensors")
    return Layer("sum", *_names(node), factors=(1.0, 1.0))


def _mul(node: onnx.NodeProto, constants: Constants) -> Layer:
    numbers = [constants[name] for name in node.input if name in constants]
    others = [name for name in node.input if name not in constants]
    if len(numbers) != 1 or len(others) != 1 or numbers[0].size != 1:
        raise _problem(node, "it must multiply with a number")
    return Layer("scale", *_names(node, others), factors=(float(numbers[0].item()),))


def _resize(node: onnx.NodeProto, constants: Constants) -> Layer:
    attributes = _attributes(node)
    scales = attributes.get("scales")
    if scales is None:
        scales = constants[node.input[1 if len(node.input) == 2 else 2]].tolist()
    plain = (
        attributes.get("mode", b"nearest") == b"nearest"
        and len(scales) == 4
        and list(scales[:2]) == [1, 1]
        and scales[2] == scales[3]
        and not (len(node.input) > 3 and node.input[3])
    )
    if not plain:
        raise _problem(node, "it must repeat pixels by one factor in both directions")
    return _resized(node, "nearest", scales[2])


def _depth_to_space(node: onnx.NodeProto, _: Constants) -> Layer:
    attributes = _attributes(node)
    if attributes.get("mode", b"DCR") != b"CRD":
        raise _problem(node, "it must shuffle in the order of PyTorch (CRD)")
    return _resized(node, "shuffle", attributes["blocksize"])


def _resized(node: onnx.NodeProto, kind: LayerKind, factor: float) -> Layer:
    if factor != int(factor) or not 1 <= factor <= _MAX_FACTOR:
        raise _problem(node, f"its factor must be a whole number from 1 to {_MAX_FACTOR}")
    return Layer(kind, *_names(node, [node.input[0]]), factors=(int(factor),))


def _copy(node: onnx.NodeProto, _: Constants) -> Layer:
    return Layer("copy", *_names(node))


_READERS: dict[str, Callable[[onnx.NodeProto, Constants], Layer]] = {
    "Conv": _convolution,
    "PRelu": _prelu,
    "LeakyRelu": _leaky,
    "Relu": _leaky,
    "Concat": _concat,
    "Add": _add,
    "Mul": _mul,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "Identity": _copy,
    "Cast": _copy,
}


def _names(
    node: onnx.NodeProto, inputs: list[str] | None = None
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Name, inputs and outputs of a layer."""
    name = node.name or node.output[0]
    return name, tuple(node.input if inputs is None else inputs), tuple(node.output)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {part.name: helper.get_attribute_value(part) for part in node.attribute}


def _stored(node: onnx.NodeProto, values: NDArray[Any]) -> StoredTensor:
    if values.dtype not in _FLOATS or 0 in values.shape:
        raise _problem(node, f"its weights must be floating-point numbers, got {values.dtype}")

    def read() -> Tensor:
        return torch.from_numpy(np.array(values, np.float32))

    return StoredTensor(tuple(values.shape), torch.float32, values.nbytes, read)


def _problem(node: onnx.NodeProto, text: str) -> CheckpointError:
    name = shown(node.name or (node.output[0] if node.output else ""))[:80]
    return CheckpointError(f"{shown(node.op_type)[:40]} {name}: {text}")
