"""Statistics of the inputs of the convolutions on the calibration tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from restora.artifact.tensors import INPUT
from restora.backends.cores import count_allowed_cores
from restora.errors import NonFiniteOutputError

BINS = 2048
_AT_ONCE = 48  # tensors that are in memory at the same time
Tiles = NDArray[np.uint8 | np.float32]
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Statistics of a tensor over all tiles.

    largest: the largest magnitude
    means: mean of each channel, (channels,)
    histogram: histogram of the magnitudes, BINS bins over 0..limit
    limit: the largest magnitude in the group of the tensor
    """

    largest: float
    means: NDArray[np.float64]
    histogram: NDArray[np.float64]
    limit: float


def gather_statistics(
    model: onnx.ModelProto,
    groups: dict[str, int],
    tiles: Tiles,
    *,
    report: Report = lambda _words: None,
) -> dict[str, Statistics]:
    """Collect the statistics of every tensor in `groups`.

    groups: number of the group of each tensor; the histograms of a group have the same range
    tiles: (n, height, width, 3), in the dtype of the graph

    Raises NonFiniteOutputError, with the name of the tensor, if a value is NaN or Inf.
    """
    names = list(groups)
    largest = dict.fromkeys(names, 0.0)
    sums: dict[str, NDArray[np.float64]] = {}
    for name, values in _iter_values(model, names, tiles):
        peak = float(np.abs(values).max())
        if not np.isfinite(peak):
            raise NonFiniteOutputError(f"{name} holds NaN or Inf on a calibration tile")
        largest[name] = max(largest[name], peak)
        means = values.mean((0, 2, 3), dtype=np.float64)
        sums[name] = sums.get(name, 0.0) + means
    report("computing histograms")
    limits: dict[int, float] = {}
    for name, number in groups.items():
        limits[number] = max(limits.get(number, 0.0), largest[name])
    counts = {name: np.zeros(BINS) for name in names}
    for name, values in _iter_values(model, names, tiles):
        limit = limits[groups[name]] or 1.0
        counts[name] += np.histogram(np.abs(values), BINS, (0, limit))[0]
    return {
        name: Statistics(largest[name], sums[name] / len(tiles), counts[name], limits[groups[name]])
        for name in names
    }


def open_graph(model: onnx.ModelProto | bytes) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU, with the cores that this process may use."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = count_allowed_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _iter_values(
    model: onnx.ModelProto, names: Sequence[str], tiles: Tiles
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for start in range(0, len(names), _AT_ONCE):
        chosen = names[start : start + _AT_ONCE]
        session = open_graph(_with_outputs(model, chosen))
        for tile in tiles:
            results = session.run(list(chosen), {INPUT: tile[None]})
            yield from zip(chosen, results, strict=True)


def _with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name in names:
        copy.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    return copy
