"""What the ONNX parser and the builder of TensorRT 8.6 misread or refuse, beyond the opset.

Sources: onnx-tensorrt, branch 8.6-EA, builtin_op_importers.cpp (Shape) and ModelImporter.cpp
(parseGraph); NvInferRuntimeBase.h of TensorRT 8.6, DataType::kUINT8.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from restora.errors import ModelError

_LAST = np.iinfo(np.int64).max  # Slice clips it to the rank
_CAST_TO_UINT8_FROM = ("FLOAT", "FLOAT16")


def rewrite_shapes(model: onnx.ModelProto) -> None:
    """Let no Shape have `start` or `end`, or read an input of uint8 that is cast; in place.

    The parser ignores both attributes without a message and returns the whole shape: a Slice takes
    their place. Only Cast may read an input of uint8: its result has the same shape.
    """
    graph = model.graph
    casts = _first_casts(graph)
    front = {id(node) for node in casts.values()}
    nodes = list(casts.values())
    for node in graph.node:
        if id(node) in front:
            continue
        nodes.append(node)
        if node.op_type != "Shape":
            continue
        if node.input[0] in casts:
            node.input[0] = casts[node.input[0]].output[0]
        if node.attribute:
            nodes.append(_slice_after(node, graph))
    del graph.node[:]
    graph.node.extend(nodes)


def check_uint8_casts(model: onnx.ModelProto) -> None:
    """Raise ModelError unless uint8 occurs only in inputs and outputs, next to a Cast.

    An input of uint8 may feed only Cast nodes, and only the result of a Cast from FP32 or FP16 may
    be uint8, which must be an output. Shape inference finds the types.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type != "Cast" and any(_is_uint8(types, name) for name in node.input):
            raise ModelError(
                f"TensorRT takes uint8 only as input of Cast, {node.op_type} {node.name} reads it"
            )
        if not any(_is_uint8(types, name) for name in node.output):
            continue
        (result,) = node.output
        if node.op_type != "Cast" or result not in outputs:
            raise ModelError(
                "TensorRT takes uint8 only for outputs of the network that Cast returns, "
                f"{node.op_type} {node.name} returns it"
            )
        given = TensorProto.DataType.Name(types.get(node.input[0], TensorProto.UNDEFINED))
        if given not in _CAST_TO_UINT8_FROM:
            raise ModelError(f"TensorRT casts FP32 and FP16 to uint8, {node.name} casts {given}")


def _first_casts(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """One Cast for each input of the graph that a Cast reads."""
    inputs = {value.name for value in graph.input}
    casts = [n for n in graph.node if n.op_type == "Cast" and n.input[0] in inputs]
    return {node.input[0]: node for node in reversed(casts)}


def _slice_after(shape: onnx.NodeProto, graph: onnx.GraphProto) -> onnx.NodeProto:
    """Remove the attributes of `shape`. Returns the node that does what they did."""
    attributes = {a.name: helper.get_attribute_value(a) for a in shape.attribute}
    del shape.attribute[:]
    result = shape.output[0]
    shape.output[0] = f"{result}_whole"
    bounds = {"start": attributes.get("start", 0), "end": attributes.get("end", _LAST)}
    for name, value in bounds.items():
        constant = np.array([value], np.int64)
        graph.initializer.append(numpy_helper.from_array(constant, f"{result}_{name}"))
    inputs = [shape.output[0], *(f"{result}_{name}" for name in bounds)]
    return helper.make_node("Slice", inputs, [result], name=f"slice_{result}")


def _is_uint8(types: dict[str, int], name: str) -> bool:
    return types.get(name) == TensorProto.UINT8
