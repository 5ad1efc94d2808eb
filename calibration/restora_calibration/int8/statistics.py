"""Statistics of the inputs of the convolutions on the calibration tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from restora.artifact.tensors import INPUT
from restora.backends.cores import count_allowed_cores
from restora.errors import NonFiniteOutputError

BINS = 2048
_MEMORY = 2**30  # bytes of the tensors that a run returns
_CHANNELS = 64  # of a tensor, for the number of tensors that fit
Tiles = NDArray[np.uint8 | np.float32]
Channels = NDArray[np.float64]
Report = Callable[[str], None]
# returns the arrays of an earlier run by the name of the collection, or makes and keeps them
Keep = Callable[[str, Callable[[], Mapping[str, NDArray[Any]]]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Statistics of a tensor over all tiles.

    largest: the largest magnitude
    means: mean of each channel, (channels,)
    histogram: histogram of the magnitudes, BINS bins over 0..limit
    limit: the largest magnitude in the group of the tensor
    """

    largest: float
    means: Channels
    histogram: NDArray[np.float64]
    limit: float


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStatistics:
    """Statistics of each channel of a tensor, (channels,): the largest magnitude and the mean."""

    peaks: Channels
    means: Channels


def gather_channels(
    model: onnx.ModelProto, names: Iterable[str], tiles: Tiles
) -> dict[str, ChannelStatistics]:
    """Collect the statistics of the channels of tensors.

    tiles: (n, height, width, 3), in the dtype of the graph

    Raises NonFiniteOutputError, with the name of the tensor, if a value is NaN or Inf.
    """
    peaks: dict[str, Channels] = {}
    sums: dict[str, Channels] = {}
    for name, values in iter_values(model, list(names), tiles):
        peak = np.abs(values).max((0, 2, 3)).astype(np.float64)
        if not np.isfinite(peak).all():
            raise NonFiniteOutputError(f"{name} holds NaN or Inf on a calibration tile")
        peaks[name] = np.maximum(peaks.get(name, 0.0), peak)
        sums[name] = sums.get(name, 0.0) + values.mean((0, 2, 3), dtype=np.float64)
    return {name: ChannelStatistics(peaks[name], sums[name] / len(tiles)) for name in names}


def keep_channels(
    keep: Keep, make: Callable[[], dict[str, ChannelStatistics]]
) -> dict[str, ChannelStatistics]:
    """Statistics of channels from an earlier run, or made and kept for a later one."""

    def arrays() -> dict[str, Channels]:
        made = make()
        peaks = {f"peaks {name}": found.peaks for name, found in made.items()}
        return peaks | {f"means {name}": found.means for name, found in made.items()}

    kept = keep("channels", arrays)
    names = [name.removeprefix("peaks ") for name in kept if name.startswith("peaks ")]
    return {name: ChannelStatistics(kept[f"peaks {name}"], kept[f"means {name}"]) for name in names}


def gather_statistics(
    model: onnx.ModelProto,
    groups: Mapping[str, int],
    tiles: Tiles,
    *,
    channels: Mapping[str, ChannelStatistics] | None = None,
    branches: Mapping[str, NDArray[np.float32]] | None = None,
    report: Report = lambda _words: None,
) -> dict[str, Statistics]:
    """Collect the statistics of every tensor in `groups`.

    groups: number of the group of each tensor; the histograms of a group have the same range
    tiles: (n, height, width, 3), in the dtype of the graph
    channels: those of the tensors, if they are known already
    branches: (channels,), what a tensor is divided by first, by name; known channels are divided

    Raises NonFiniteOutputError, with the name of the tensor, if a value is NaN or Inf.
    """
    if channels is None:
        channels = gather_channels(model, groups, tiles)
    largest = {name: float(channels[name].peaks.max()) for name in groups}
    report("computing histograms")
    limits: dict[int, float] = {}
    for name, number in groups.items():
        limits[number] = max(limits.get(number, 0.0), largest[name])
    counts = {name: np.zeros(BINS) for name in groups}
    for name, values in iter_values(model, list(groups), tiles):
        limit = limits[groups[name]] or 1.0
        if branches and name in branches:
            values = values / branches[name][None, :, None, None]
        counts[name] += _histogram(values, limit)
    return {
        name: Statistics(largest[name], channels[name].means, counts[name], limits[groups[name]])
        for name in groups
    }


def open_graph(model: onnx.ModelProto | bytes) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU, with the cores that this process may use."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = count_allowed_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def iter_values(
    model: onnx.ModelProto, names: Sequence[str], tiles: Tiles
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the values of each tensor, (1, channels, height, width), for each tile.

    The graph runs with as many of the tensors at once as fit in memory.
    """
    pixels = int(np.prod(tiles.shape[1:3]))
    at_once = max(1, _MEMORY // (4 * _CHANNELS * pixels))
    for start in range(0, len(names), at_once):
        chosen = names[start : start + at_once]
        session = open_graph(_with_outputs(model, chosen))
        for tile in tiles:
            results = session.run(list(chosen), {INPUT: tile[None]})
            yield from zip(chosen, results, strict=True)


def _histogram(values: NDArray[np.float32], limit: float) -> NDArray[np.int64]:
    bins = (np.abs(values) * np.float32(BINS / limit)).astype(np.int32).ravel()
    return np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)


def _with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name in names:
        copy.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    return copy
