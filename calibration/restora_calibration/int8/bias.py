"""Bias correction: biases compensate the mean error of rounded weights and clipped values.

Nagel et al., arXiv:1906.04721, section 4.2."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from restora_calibration.int8.equalize import Equalization
from restora_calibration.int8.formats import INT8, Array, Format, quantize_weight
from restora_calibration.int8.layers import Layer, find_makers, read_weight

Means = NDArray[np.float64]


def correct_biases(
    model: onnx.ModelProto,
    layers: list[Layer],
    means: Mapping[str, Means],
    form: Format = INT8,
    rounded: Mapping[str, NDArray[np.int8]] | None = None,
    factors: Equalization | None = None,
) -> dict[str, Array]:
    """Compute corrected biases from the rounding errors of the weights, by name of the layer.

    means: mean of each channel on the calibration tiles, by source tensor
    rounded: rounded weights, by name of the layer; others are rounded to the nearest step
    factors: those that the graph is scaled with, if it is; the means are those of what is rounded

    Borders, where the padding is 0 instead of the mean, are treated like the rest.
    """
    makers = find_makers(model)
    biases = {}
    for layer in layers:
        node = model.graph.node[layer.node]
        if len(node.input) < 3:
            continue
        weight = read_weight(model, layer.weight)
        if factors is not None and layer.name in factors.layers:
            weight = weight * factors.layers[layer.name].rounded[None, :, None, None]
        values, scale = quantize_weight(weight, form)
        values = (rounded or {}).get(layer.name, values)
        spread = scale.reshape(-1, 1, 1, 1) if form.per_channel else scale
        error = values.astype(np.float32) * spread - weight
        shift = error.sum((2, 3), dtype=np.float64) @ _means_of(layer.input, makers, means)
        biases[layer.name] = (read_weight(model, node.input[2]) - shift).astype(np.float32)
    return biases


def _means_of(name: str, makers: Mapping[str, onnx.NodeProto], means: Mapping[str, Means]) -> Means:
    if name in means:
        return means[name]
    node = makers[name]
    if node.op_type == "Concat":
        return np.concatenate([_means_of(part, makers, means) for part in node.input])
    return _means_of(node.input[0], makers, means)  # upsampling does not change the mean
