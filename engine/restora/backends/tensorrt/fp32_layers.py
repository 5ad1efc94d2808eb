"""Keep layers in FP32 where FP16 overflows, if precision is a flag of the builder (TensorRT 8.6).

An FP16 artifact has these layers in its types. Here the builder gets the precision of each layer:
FP32 for everything that is not a feature map (style codes, demodulation) and for everything with
three channels (images).
"""

from __future__ import annotations

from typing import Any

_PICTURE_CHANNELS = 3
_FREE = ("CONVOLUTION", "DECONVOLUTION", "CONSTANT")  # these accumulate in FP32 anyway


def keep_fp32_layers(trt: Any, network: Any, *, features: bool = False) -> int:
    """Set layers of a parsed network to FP32. Returns their number.

    features: keep feature maps in FP32 too, except at the inputs and outputs of convolutions
    """
    kinds = trt.LayerType
    free = [getattr(kinds, name) for name in _FREE]
    count = 0
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        outputs = [layer.get_output(number) for number in range(layer.num_outputs)]
        if layer.type in free or not all(_is_float(trt, output) for output in outputs):
            continue
        if not features and not all(_needs_fp32(output) for output in outputs):
            continue
        layer.precision = trt.DataType.FLOAT
        for number in range(layer.num_outputs):
            layer.set_output_type(number, trt.DataType.FLOAT)
        count += 1
    return count


def _is_float(trt: Any, tensor: Any) -> bool:
    return bool(tensor.dtype == trt.DataType.FLOAT and not tensor.is_shape_tensor)


def _needs_fp32(tensor: Any) -> bool:
    shape = tuple(tensor.shape)
    if len(shape) < 4:
        return True
    # channel factors have shape (batch, channels, 1, 1); images have three channels
    return shape[2:] == (1, 1) or _PICTURE_CHANNELS in (shape[1], shape[3])
