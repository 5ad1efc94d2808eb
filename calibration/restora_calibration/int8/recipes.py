"""Choose how to quantize a set of layers: factors of channels, value ranges, rounded weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from restora_calibration.int8.bias import correct_biases
from restora_calibration.int8.equalize import Peaks, choose_factors, scale_channels, scale_peaks
from restora_calibration.int8.formats import FORMATS, FormatName
from restora_calibration.int8.layers import Layer
from restora_calibration.int8.qdq import Recipe
from restora_calibration.int8.ranges import Method, choose_ranges
from restora_calibration.int8.rounding import round_layers
from restora_calibration.int8.statistics import ChannelStatistics, Tiles, gather_statistics
from restora_calibration.int8.trial import Trials, key_of

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a recipe is made from.

    layers: the layers to quantize
    groups: number of the group of each of their sources; those of a group share their range
    channels: statistics of the channels of these sources, on `tiles`
    tiles: the tiles to find ranges on, in the dtype of the graph
    """

    layers: Sequence[Layer]
    groups: Mapping[str, int]
    channels: Mapping[str, ChannelStatistics]
    tiles: Tiles


class _Attempts:
    """Measures recipes and keeps the most accurate one."""

    def __init__(self, trials: Trials, report: Report) -> None:
        self._trials = trials
        self._report = report
        self.tried: dict[str, float] = {}
        self.best: Recipe | None = None

    def measure(self, words: str, recipe: Recipe) -> None:
        mean = self._trials.measure(recipe).mean
        known = max(self.tried.values(), default=float("-inf"))
        self.tried[words] = round(mean, 2)
        self._report(f"all {len(recipe.layers)} layers in {recipe.format}, {words}: {mean:.1f} dB")
        if self.best is None or self.tried[words] > known:
            self.best = recipe


def choose_recipe(
    trials: Trials,
    material: Material,
    methods: Sequence[Method],
    *,
    residuals: bool,
    form: FormatName = "int8",
    report: Report,
) -> tuple[Recipe, dict[str, float]]:
    """Choose the most accurate way with all layers of the material in 8 bits.

    methods: methods to find value ranges
    residuals: quantize the skip connections too

    In INT8, channels are equalized and weights rounded with their inputs, if that is more accurate.
    Returns the recipe and the mean PSNR of each way.
    """
    names = frozenset(layer.name for layer in material.layers)
    attempts = _Attempts(trials, report)
    peaks = {name: found.peaks for name, found in material.channels.items()}
    largest = choose_largest(peaks, material.groups)
    plain = Recipe(names, largest, residuals=residuals, format=form)
    if form == "int8":
        attempts.measure("ranges by max", plain)
        factors = choose_factors(
            trials.model, trials.layers, material.groups, peaks, branches=not residuals
        )
        scaled = scale_peaks(trials.model, trials.layers, factors, peaks)
        ranges = choose_largest(scaled, material.groups)
        equalized = replace(plain, ranges=ranges, factors=factors)
        attempts.measure("equalized channels", equalized)
        assert attempts.best is not None
        plain = attempts.best
    _try_ranges(attempts, trials, material, plain, methods, report)
    assert attempts.best is not None
    return attempts.best, attempts.tried


def choose_largest(peaks: Peaks, groups: Mapping[str, int]) -> dict[str, float]:
    """The largest magnitude of the group of each tensor."""
    limits: dict[int, float] = {}
    for name, number in groups.items():
        limits[number] = max(limits.get(number, 0.0), float(peaks[name].max()))
    return {name: limits[number] for name, number in groups.items()}


def _try_ranges(
    attempts: _Attempts,
    trials: Trials,
    material: Material,
    base: Recipe,
    methods: Sequence[Method],
    report: Report,
) -> None:
    """Try the methods of finding ranges, then rounded weights, then corrected biases."""
    model = scale_channels(trials.model, trials.layers, base.factors.layers)
    peaks = {name: found.peaks for name, found in material.channels.items()}
    means = {name: found.means for name, found in material.channels.items()}
    peaks = scale_peaks(trials.model, trials.layers, base.factors, peaks)
    means = scale_peaks(trials.model, trials.layers, base.factors, means)
    channels = {name: ChannelStatistics(peaks[name], means[name]) for name in peaks}
    words = ", equalized" if base.factors.layers else ""
    if tuple(methods) != ("max",):
        statistics = gather_statistics(
            model,
            material.groups,
            material.tiles,
            channels=channels,
            branches=base.factors.branches,
            report=report,
        )
    for method in methods:
        if method == "max":
            attempts.measure(f"ranges by max{words}", base)
            continue
        ranges = choose_ranges(statistics, material.groups, method)
        attempts.measure(f"ranges by {method}{words}", replace(base, ranges=ranges))
    best = attempts.best
    assert best is not None
    if base.format == "int8":
        report(f"rounding the weights of {len(material.layers)} layers")
        weights = trials.log.keep(
            f"weights-{key_of(base)}",
            lambda: round_layers(model, material.layers, material.tiles, base.factors),
        )
        biases = correct_biases(
            model, list(material.layers), means, rounded=weights, factors=base.factors
        )
        attempts.measure(
            "the best of them with rounded weights", replace(best, weights=weights, biases=biases)
        )
    if attempts.best is best:
        form = FORMATS[base.format]
        biases = correct_biases(model, list(material.layers), means, form, factors=base.factors)
        attempts.measure("the best of them with corrected biases", replace(best, biases=biases))
