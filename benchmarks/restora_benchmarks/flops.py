"""Count the work of an ONNX graph: multiply-adds of convolutions and matrix products, times 2."""

import math

import onnx
from onnx import shape_inference


def count_flops(onnx_bytes: bytes, *, batch: int, height: int, width: int) -> int:
    """Floating-point operations of one run on (batch, height, width, 3).

    Counts Conv, ConvTranspose, MatMul and Gemm, which is where the time of these networks goes.
    """
    model = onnx.load_from_string(onnx_bytes)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for dim, value in zip(dims, (batch, height, width, 3), strict=True):
        dim.dim_value = value
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(model, data_prop=True, strict_mode=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value_info in (*graph.input, *graph.value_info, *graph.output):
        shape = value_info.type.tensor_type.shape
        shapes[value_info.name] = [dim.dim_value for dim in shape.dim]
    return sum(_flops_of(node, shapes) for node in graph.node)


def _flops_of(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    if node.op_type == "Conv":
        weight, out = shapes[node.input[1]], shapes[node.output[0]]
        return 2 * math.prod(out) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        weight, into = shapes[node.input[1]], shapes[node.input[0]]
        return 2 * math.prod(into) * math.prod(weight[1:])
    if node.op_type in ("MatMul", "Gemm"):
        return 2 * math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0
