"""Measure the largest tensor of a network: TensorRT supports fewer than 2**31 elements."""

import math

import onnx

from restora_export.facts import NetworkFacts

_STEPS = 16


def measure_elements_per_pixel(model: onnx.ModelProto, facts: NetworkFacts) -> float | None:
    """Elements of the largest tensor per input pixel, or None if shapes are unknown."""
    side = facts.side or _STEPS * facts.size_multiple
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    dims = fixed.graph.input[0].type.tensor_type.shape.dim
    for dim, size in zip(dims, (1, side, side, facts.input_channels), strict=True):
        dim.dim_value = size
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    sizes = [
        math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.graph.value_info, *inferred.graph.output)
        if value.type.tensor_type.HasField("shape")
        and all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    ]
    return max(sizes) / side**2 if sizes else None
