"""Choose the value range of each tensor: four methods to clip rare large values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from restora_calibration.int8.formats import INT8
from restora_calibration.int8.statistics import BINS, Statistics

Method = Literal["max", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
PERCENTILE = 99.99
_STEPS = int(INT8.largest)
_LEVELS = _STEPS + 1  # of magnitude
_STEP = 16  # bins between candidate thresholds

Histogram = NDArray[np.float64]


def choose_ranges(
    statistics: Mapping[str, Statistics], groups: Mapping[str, int], method: Method
) -> dict[str, float]:
    """Choose the largest magnitude of each tensor, common to its group; 0 if all values are 0."""
    histograms: dict[int, Histogram] = {}
    limits: dict[int, float] = {}
    for name, number in groups.items():
        found = statistics[name]
        histograms[number] = histograms.get(number, np.zeros(BINS)) + found.histogram
        limits[number] = found.limit
    cut = {
        number: find_threshold(histogram, limits[number], method)
        for number, histogram in histograms.items()
    }
    return {name: cut[number] for name, number in groups.items()}


def find_threshold(histogram: Histogram, limit: float, method: Method) -> float:
    """Find the magnitude, at most `limit`, at which values are clipped.

    histogram: histogram of the magnitudes over 0..limit
    """
    if limit <= 0:
        return 0.0
    width = limit / len(histogram)
    if method == "max":
        return limit
    if method == "percentile":
        share = np.cumsum(histogram) / histogram.sum()
        return float((np.searchsorted(share, PERCENTILE / 100) + 1) * width)
    bins = range(_LEVELS, len(histogram) + 1, _STEP)
    error = _squared_error if method == "mse" else _divergence
    errors = [error(histogram, stop) for stop in bins]
    return float(bins[int(np.argmin(errors))] * width)


def _squared_error(histogram: Histogram, stop: int) -> float:
    """Sum of squared errors, in bins, if values beyond the first `stop` bins are clipped.

    The other values are rounded to 127 steps.
    """
    centers = np.arange(len(histogram)) + 0.5
    step = stop / _STEPS
    rounded = np.minimum(np.rint(centers / step), _STEPS) * step
    # values within a bin are spread evenly over a step
    inside = np.where(centers < stop, np.maximum((centers - rounded) ** 2, step**2 / 12), 0)
    outside = np.where(centers >= stop, (centers - stop) ** 2, 0)
    return float((histogram * (inside + outside)).sum())


def _divergence(histogram: Histogram, stop: int) -> float:
    """Kullback-Leibler divergence of the clipped distribution from its 128 quantized levels.

    Outliers count in the last bin (Migacz, 8-bit inference with TensorRT, 2017).
    """
    kept = histogram[:stop].copy()
    seen = kept > 0
    kept[-1] += histogram[stop:].sum()
    edges = np.linspace(0, stop, _LEVELS + 1).astype(int)
    totals = np.add.reduceat(histogram[:stop], edges[:-1])
    filled = np.maximum(np.add.reduceat(seen.astype(float), edges[:-1]), 1)
    coarse = np.where(seen, np.repeat(totals / filled, np.diff(edges)), 0)
    if not coarse.sum():
        return float("inf")
    p, q = kept / kept.sum(), coarse / coarse.sum()
    known = p > 0
    return float((p[known] * np.log(p[known] / np.maximum(q[known], 1e-12))).sum())
