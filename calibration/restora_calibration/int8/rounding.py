"""Round weights so that their errors cancel on the inputs that they meet.

Each weight in turn is rounded, and the weights after it take up the error as far as their inputs
are correlated with its input: Frantar et al., GPTQ, arXiv:2210.17323. Neighboring pixels and
channels are strongly correlated, so most of the error can be taken up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from restora_calibration.int8.equalize import Equalization
from restora_calibration.int8.formats import INT8, Array, Format, quantize_weight
from restora_calibration.int8.layers import Layer
from restora_calibration.int8.statistics import Tiles, iter_values

Covariance = NDArray[np.float32]
Rounded = NDArray[np.int8]

_DAMPING = 0.01  # of the mean variance of an input, as in the paper
_SAMPLES = 512  # of each tile
_MEMORY = 2**31  # bytes of covariances at once, of which dense blocks hold less than half


def round_layers(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    tiles: Tiles,
    factors: Equalization,
    *,
    seed: int = 0,
) -> dict[str, Rounded]:
    """Round the weights of layers to INT8, by name, on the inputs that they have on the tiles.

    model: an FP32 graph, scaled with the factors
    tiles: (n, height, width, 3), in the dtype of the graph
    seed: chooses the positions in the tiles

    Left out are layers with groups, strides or dilations.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    chosen = [layer for layer in layers if _is_plain(model.graph.node[layer.node])]
    rounded: dict[str, Rounded] = {}
    for part in _split_by_memory(chosen, weights):
        covariances = _gather(model, part, weights, tiles, seed)
        for layer in part:
            weight = numpy_helper.to_array(weights[layer.weight])
            covariance = covariances.pop(layer.name)
            if layer.name in factors.layers:
                own = factors.layers[layer.name].rounded
                weight = weight * own[None, :, None, None]
                spread = np.repeat(own, weight[0, 0].size)
                covariance = covariance / spread / spread[:, None]
            rounded[layer.name] = round_weight(weight, covariance)
    return rounded


def round_weight(weight: Array, covariance: Covariance, form: Format = INT8) -> Rounded:
    """Round the weights of a convolution to the steps of quantize_weight.

    weight: (out, in, kh, kw)
    covariance: sum of products of inputs over samples, (in * kh * kw, in * kh * kw)

    Returns the values, (out, in, kh, kw).
    """
    plain, scale = quantize_weight(weight, form)
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    variances = np.diag(covariance).astype(np.float64)
    if not variances.mean() > 0:
        return plain
    order = np.argsort(-variances, kind="stable")  # large errors first, while many can take them up
    damped = covariance[np.ix_(order, order)].astype(np.float64)
    damped[np.diag_indices_from(damped)] += _DAMPING * variances.mean()
    # rows of the upper factor of the inverse say how the weights after one take up its error
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    rows = rows[:, order]
    steps = scale.astype(np.float64)
    values = np.empty_like(rows)
    for index in range(rows.shape[1]):
        column = rows[:, index]
        values[:, index] = np.clip(np.rint(column / steps), -form.largest, form.largest)
        error = (column - values[:, index] * steps) / factor[index, index]
        rows[:, index + 1 :] -= error[:, None] * factor[index, index + 1 :]
    back = np.empty_like(values)
    back[:, order] = values
    return back.reshape(weight.shape).astype(form.dtype)


def _gather(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    weights: Mapping[str, onnx.TensorProto],
    tiles: Tiles,
    seed: int,
) -> dict[str, Covariance]:
    """The covariances of the inputs of layers.

    The convolutions of a dense block read a growing concatenation: what one reads is the beginning
    of what the next reads, and so is its covariance.
    """
    enlarged = {out for node in model.graph.node if node.op_type == "Resize" for out in node.output}
    widest: dict[str, Layer] = {}  # for each layer, the one whose input begins with its own
    by_source: dict[tuple[str, bool, tuple[int, ...]], list[Layer]] = defaultdict(list)
    for layer in sorted(layers, key=lambda found: -len(found.sources)):
        kernel = tuple(weights[layer.weight].dims[2:])
        alike = by_source[layer.sources[0], layer.input in enlarged, kernel]
        begins = (found for found in alike if found.sources[: len(layer.sources)] == layer.sources)
        widest[layer.name] = next(begins, layer)
        if widest[layer.name] is layer:
            alike.append(layer)
    sums: dict[str, Covariance] = {}
    by_input = {layer.input: layer for layer in widest.values()}
    random = np.random.default_rng(seed)
    for name, values in iter_values(model, list(by_input), tiles):
        layer = by_input[name]
        patches = _sample_patches(values[0], weights[layer.weight].dims[2:], random)
        product = patches @ patches.T
        sums[layer.name] = sums[layer.name] + product if layer.name in sums else product
    return {
        layer.name: sums[widest[layer.name].name][: (size := _size(layer, weights)), :size]
        for layer in layers
    }


def _sample_patches(
    values: NDArray[np.float32], kernel: Sequence[int], random: np.random.Generator
) -> NDArray[np.float32]:
    """Patches of (channels, height, width) at random positions: (channels * kh * kw, samples)."""
    channels, height, width = values.shape
    tall, wide = kernel
    padded = np.pad(values, ((0, 0), (tall // 2,) * 2, (wide // 2,) * 2))
    count = min(_SAMPLES, height * width)
    rows, columns = np.divmod(random.choice(height * width, count, replace=False), width)
    patches = np.empty((channels, tall, wide, count), np.float32)
    for y in range(tall):
        for x in range(wide):
            patches[:, y, x] = padded[:, rows + y, columns + x]
    return patches.reshape(channels * tall * wide, count)


def _split_by_memory(
    layers: Sequence[Layer], weights: Mapping[str, onnx.TensorProto]
) -> list[list[Layer]]:
    parts: list[list[Layer]] = [[]]
    held = 0
    for layer in layers:
        needed = 4 * _size(layer, weights) ** 2
        if parts[-1] and held + needed > _MEMORY:
            parts.append([])
            held = 0
        parts[-1].append(layer)
        held += needed
    return parts


def _size(layer: Layer, weights: Mapping[str, onnx.TensorProto]) -> int:
    return int(np.prod(weights[layer.weight].dims[1:]))


def _is_plain(node: onnx.NodeProto) -> bool:
    """One group, no stride, no dilation, and padding that keeps the size of an odd kernel."""
    found = {attribute.name: attribute for attribute in node.attribute}
    ones = ("group", "strides", "dilations")
    if any(set(found[name].ints or [found[name].i]) != {1} for name in ones if name in found):
        return False
    kernel = list(found["kernel_shape"].ints) if "kernel_shape" in found else []
    return list(found["pads"].ints if "pads" in found else []) == [k // 2 for k in kernel] * 2
