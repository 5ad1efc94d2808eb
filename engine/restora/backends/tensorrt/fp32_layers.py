"""Keep layers in FP32 where FP16 overflows, if precision is a flag of the builder (TensorRT 8.6).

An FP16 artifact has these layers in its types. Here the builder gets the precision of each layer:
FP32 for everything that is not a feature map (style codes, demodulation), for everything with
three channels (images), and for the constants that these layers read: 1e-8 is 0 in FP16.
"""

from __future__ import annotations

from typing import Any

_PICTURE_CHANNELS = 3
# convolutions accumulate in FP32 anyway; the types around INT8 follow from the quantization
_FREE = ("CONVOLUTION", "DECONVOLUTION", "CONSTANT", "QUANTIZE", "DEQUANTIZE")
_MOVERS = ("SHUFFLE", "IDENTITY")  # TensorRT fuses them with the constant that they move


def keep_fp32_layers(trt: Any, network: Any, *, features: bool = False) -> int:
    """Set layers of a parsed network to FP32. Returns their number.

    features: keep feature maps in FP32 too, except at the inputs and outputs of convolutions
    """
    kinds = trt.LayerType
    free = [getattr(kinds, name) for name in _FREE]
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    pinned = {
        index
        for index, layer in enumerate(layers)
        if layer.type not in free and _is_pinned(trt, layer, features=features)
    }
    pinned |= _constants_of(trt, layers, pinned)
    for index in pinned:
        _pin(trt, layers[index])
    return len(pinned)


def _is_pinned(trt: Any, layer: Any, *, features: bool) -> bool:
    outputs = _outputs(layer)
    return all(_is_float(trt, output) for output in outputs) and (
        features or all(_needs_fp32(output) for output in outputs)
    )


def _constants_of(trt: Any, layers: list[Any], pinned: set[int]) -> set[int]:
    """The constants that pinned layers read, and what moves them on the way."""
    kinds = trt.LayerType
    constant, movers = kinds.CONSTANT, [getattr(kinds, name) for name in _MOVERS]
    # by name, since each call returns another Python object for the same tensor
    makers = {
        output.name: index for index, layer in enumerate(layers) for output in _outputs(layer)
    }
    found: set[int] = set()
    waiting: list[tuple[int, tuple[int, ...]]] = [(index, ()) for index in pinned]
    while waiting:
        index, way = waiting.pop()
        for tensor in _inputs(layers[index]):
            maker = makers.get(tensor.name)
            if maker is None or not _is_float(trt, tensor):
                continue
            if layers[maker].type == constant:
                found |= {maker, *way}
            elif layers[maker].type in movers and maker not in pinned:
                waiting.append((maker, (*way, maker)))
    return found


def _pin(trt: Any, layer: Any) -> None:
    layer.precision = trt.DataType.FLOAT
    for number in range(layer.num_outputs):
        layer.set_output_type(number, trt.DataType.FLOAT)


def _outputs(layer: Any) -> list[Any]:
    return [layer.get_output(number) for number in range(layer.num_outputs)]


def _inputs(layer: Any) -> list[Any]:
    tensors = [layer.get_input(number) for number in range(layer.num_inputs)]
    return [tensor for tensor in tensors if tensor is not None]  # inputs may be left out


def _is_float(trt: Any, tensor: Any) -> bool:
    return bool(tensor.dtype == trt.DataType.FLOAT and not tensor.is_shape_tensor)


def _needs_fp32(tensor: Any) -> bool:
    shape = tuple(tensor.shape)
    if len(shape) < 4:
        return True
    # channel factors have shape (batch, channels, 1, 1); images have three channels
    return shape[2:] == (1, 1) or _PICTURE_CHANNELS in (shape[1], shape[3])
