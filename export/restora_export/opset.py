"""Convert a graph from opset 18 to opset 17, the newest that TensorRT 8.6 supports.

The exporter of PyTorch 2.13 writes opset 18, and its own converter fails on reductions. Only
operators that are the same in both versions, or whose difference is handled here, are accepted.
Operators: github.com/onnx/onnx/blob/main/docs/Changelog.md, version 18.
"""

import onnx
from onnx import defs, helper, numpy_helper

from restora.errors import ModelError

NEW, OLD = 18, 17
_REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd", "ReduceSumSquare")


def lower_to_opset17(model: onnx.ModelProto) -> None:
    """Convert `model` in place. Raises ModelError, with the operator, if that is not possible."""
    (opset,) = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if opset.version != NEW:
        raise ModelError(f"the exporter must produce opset {NEW}, got {opset.version}")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise ModelError(f"operator {node.domain}.{node.op_type} is not standard ONNX")
        newer = defs.get_schema(node.op_type, NEW).since_version
        if newer != defs.get_schema(node.op_type, OLD).since_version:
            _lower(node, constants)
    used = {name for node in model.graph.node for name in node.input}
    for name in constants.keys() - used:
        model.graph.initializer.remove(constants[name])
    opset.version = OLD


def _lower(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> None:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in _REDUCTIONS:
        _drop(node, attributes, "noop_with_empty_axes", default=0)
        if len(node.input) > 1:
            axes = numpy_helper.to_array(constants[node.input[1]])
            del node.input[1:]
            node.attribute.append(helper.make_attribute("axes", axes.tolist()))
    elif node.op_type == "Resize":
        _drop(node, attributes, "antialias", default=0)
        _drop(node, attributes, "keep_aspect_ratio_policy", default=b"stretch")
        _refuse(node, attributes, "axes")
    elif node.op_type == "Split":
        # without sizes, opset 17 splits into as many equal parts as there are outputs
        _drop(node, attributes, "num_outputs", default=len(node.output))
    elif node.op_type == "Pad" and len(node.input) > 3:
        raise ModelError("Pad with axes has no counterpart in opset 17")
    elif node.op_type not in ("Split", "Pad"):
        raise ModelError(f"{node.op_type} changed between opset {OLD} and {NEW}")


def _drop(
    node: onnx.NodeProto, attributes: dict[str, object], name: str, *, default: object
) -> None:
    if name not in attributes:
        return
    if attributes[name] != default:
        raise ModelError(f"{node.op_type} with {name}={attributes[name]!r} needs opset {NEW}")
    node.attribute.remove(next(a for a in node.attribute if a.name == name))


def _refuse(node: onnx.NodeProto, attributes: dict[str, object], name: str) -> None:
    if name in attributes:
        raise ModelError(f"{node.op_type} with {name} needs opset {NEW}")
