"""Equalize channels: scale the channels between convolutions, so that all of them use the range.

A tensor in 8 bits has one scale, so channels with small values are rounded coarsely. Dividing a
channel by a positive factor where it is computed, and multiplying the weights that read it by the
same factor, changes nothing about the network: Nagel et al., arXiv:1906.04721, section 4.1.
Additions, leaky activations, upsampling and concatenations pass the factor on, so the features that
all blocks of a residual network add to are one stream with one factor for each channel.

Where the blocks of such a stream differ, what is rounded for a block is divided by factors of its
own on the way, which OpenVINO makes part of the rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from restora.errors import ModelError
from restora_calibration.int8.layers import Layer
from restora_calibration.int8.streams import Stream, find_streams

Factors = NDArray[np.float32]
Peaks = Mapping[str, NDArray[np.float64]]

_SMALLEST = 2.0**-6  # of the largest factor of a stream: channels that are nearly 0 stay small


@dataclass(frozen=True, slots=True)
class ChannelFactors:
    """The factors of a convolution: its weights are multiplied by inputs / outputs.

    inputs: (in,), what its input is divided by
    outputs: (out,), what its output is divided by
    rounded: (in,), what its input is divided by besides if it is in 8 bits
    """

    inputs: Factors
    outputs: Factors
    rounded: Factors


@dataclass(frozen=True, slots=True)
class Equalization:
    """The factors of a network.

    layers: those of convolutions, by name
    branches: (channels,), what a tensor is divided by before it is rounded, by name of the tensor
    """

    layers: Mapping[str, ChannelFactors] = field(default_factory=dict)
    branches: Mapping[str, Factors] = field(default_factory=dict)


def choose_factors(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    groups: Mapping[str, int],
    peaks: Peaks,
    *,
    branches: bool = True,
) -> Equalization:
    """Choose the factors, so that all channels of what is rounded have the same peaks.

    layers: all layers of the graph
    groups: number of the group of each tensor to quantize; those of a group share their range
    peaks: largest magnitude of each channel, by tensor to quantize
    branches: choose factors of single blocks too; with 8-bit skip connections, there must be none
    """
    streams = [
        stream for stream in find_streams(model, layers) if any(name in peaks for name in stream)
    ]
    scales = {id(stream): _relative_peaks(stream, peaks) for stream in streams}
    ranges = {
        name: float((peaks[name] / scales[id(stream)]).max())
        for stream in streams
        for name in stream.tensors
        if name in peaks
    }
    for stream in streams:
        numbers = {groups[name] for name in stream.tensors if name in peaks}
        if len(numbers) == 1:
            (number,) = numbers
            own = max(ranges[name] for name in stream.tensors if name in peaks)
            shared = _range_within(number, streams, groups, ranges)
            if own > 0 and shared > 0:
                scales[id(stream)] *= own / shared
    apart = _find_branches(streams, scales, peaks) if branches else {}
    return Equalization(_factors_of(streams, scales, apart, layers, model), apart)


def scale_channels(
    model: onnx.ModelProto, layers: Iterable[Layer], factors: Mapping[str, ChannelFactors]
) -> onnx.ModelProto:
    """A copy of a graph in FP32 or FP16 with scaled weights and biases, which computes the same.

    layers: all layers of the graph, whose names the factors have

    Raises ModelError if a scaled weight is too large for the type of the graph.
    """
    scaled = onnx.ModelProto()
    scaled.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in scaled.graph.initializer}
    for layer in layers:
        found = factors.get(layer.name)
        if found is None:
            continue
        weight = numpy_helper.to_array(tensors[layer.weight])
        inputs, outputs = found.inputs[None, :, None, None], found.outputs[:, None, None, None]
        _replace(tensors[layer.weight], weight.astype(np.float32) * inputs / outputs)
        node = scaled.graph.node[layer.node]
        if len(node.input) > 2:
            bias = numpy_helper.to_array(tensors[node.input[2]])
            _replace(tensors[node.input[2]], bias.astype(np.float32) / found.outputs)
    return scaled


def scale_peaks(
    model: onnx.ModelProto, layers: Sequence[Layer], factors: Equalization, peaks: Peaks
) -> dict[str, NDArray[np.float64]]:
    """The peaks, or means, of each channel of what is rounded in the scaled graph."""
    scaled = {name: np.asarray(values) for name, values in peaks.items()}
    for stream in find_streams(model, layers):
        makers = [factors.layers[name] for name in stream.makers if name in factors.layers]
        for name in stream.tensors if makers else ():
            if name in scaled:
                scaled[name] = scaled[name] / makers[0].outputs / factors.branches.get(name, 1.0)
    return scaled


def _find_branches(
    streams: Iterable[Stream], scales: Mapping[int, NDArray[np.float64]], peaks: Peaks
) -> dict[str, Factors]:
    """The factors of the tensors of streams that are rounded in several places."""
    found = {}
    for stream in streams:
        rounded = [name for name in stream.tensors if name in peaks]
        for name in rounded if len(rounded) > 1 else ():
            left = peaks[name] / scales[id(stream)]
            if left.max() > 0:
                found[name] = np.maximum(left / left.max(), _SMALLEST).astype(np.float32)
    return found


def _relative_peaks(stream: Stream, peaks: Peaks) -> NDArray[np.float64]:
    """The mean share of each channel in the range of the stream's tensors, 2^-6..1."""
    shares = [
        peaks[name] / peaks[name].max()
        for name in stream.tensors
        if name in peaks and peaks[name].max() > 0
    ]
    if not shares:
        return np.ones(stream.channels)
    found: NDArray[np.float64] = np.mean(shares, axis=0)
    return np.asarray(np.maximum(found / found.max(), _SMALLEST), np.float64)


def _range_within(
    number: int,
    streams: Iterable[Stream],
    groups: Mapping[str, int],
    ranges: Mapping[str, float],
) -> float:
    """The range that a stream within one group must fill: that of the streams which are in other
    groups too, and so cannot be adapted, or else of the largest of all."""
    inside: dict[bool, list[float]] = {False: [0.0], True: [0.0]}
    for other in streams:
        mine = [name for name in other.tensors if name in ranges]
        alone = {groups[name] for name in mine} == {number}
        inside[alone] += [ranges[name] for name in mine if groups[name] == number]
    return max(inside[False]) or max(inside[True])


def _factors_of(
    streams: Iterable[Stream],
    scales: Mapping[int, NDArray[np.float64]],
    branches: Mapping[str, Factors],
    layers: Sequence[Layer],
    model: onnx.ModelProto,
) -> dict[str, ChannelFactors]:
    dims = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    found: dict[str, ChannelFactors] = {}
    sizes = {layer.name: (dims[layer.weight][1], dims[layer.weight][0]) for layer in layers}

    def of(layer: str) -> ChannelFactors:
        inputs, outputs = sizes[layer]
        sides = (np.ones(count, np.float32) for count in (inputs, outputs, inputs))
        return found.setdefault(layer, ChannelFactors(*sides))

    for stream in streams:
        scale = scales[id(stream)].astype(np.float32)
        for layer in stream.makers:
            of(layer).outputs[:] = scale
        for layer, start, tensor in stream.users:
            place = slice(start, start + stream.channels)
            of(layer).inputs[place] = scale
            of(layer).rounded[place] = branches.get(tensor, 1.0)
    return found


def _replace(tensor: onnx.TensorProto, values: NDArray[np.float32]) -> None:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if np.abs(values).max(initial=0) > np.finfo(dtype).max:
        raise ModelError(f"{tensor.name} is too large for {dtype} after scaling its channels")
    tensor.CopyFrom(numpy_helper.from_array(values.astype(dtype), tensor.name))
