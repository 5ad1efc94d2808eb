"""Search the layer assignment: value ranges, sensitivity of each layer, greedy search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from restora_calibration.int8.bias import correct_biases
from restora_calibration.int8.formats import FORMATS, FormatName
from restora_calibration.int8.layers import Layer
from restora_calibration.int8.qdq import Recipe
from restora_calibration.int8.ranges import METHODS, Method, choose_ranges
from restora_calibration.int8.statistics import Statistics
from restora_calibration.int8.trial import Distance, Trials

Report = Callable[[str], None]
_STEPS = 40  # of the greedy search; in large networks a step changes several layers
_FURTHER = 3  # steps after the first assignment that passes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layer assignment and its distance from FP32. macs: share of the multiplications in INT8."""

    recipe: Recipe
    distance: Distance
    macs: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The distance from FP32 with a single layer in INT8."""

    layer: str
    distance: Distance
    macs: float


def choose_recipe(
    trials: Trials,
    names: Sequence[str],
    statistics: Mapping[str, Statistics],
    groups: Mapping[str, int],
    methods: Sequence[Method] = METHODS,
    *,
    residuals: bool,
    form: FormatName = "int8",
    report: Report,
) -> tuple[Recipe, dict[str, float]]:
    """Choose the method for ranges, and whether to correct biases, with all of `names` in 8 bits.

    residuals: quantize the skip connections too

    Returns the most accurate recipe, and the mean PSNR of each method.
    """
    means = {name: found.means for name, found in statistics.items()}
    chosen = [layer for layer in trials.layers if layer.name in names]
    biases = correct_biases(trials.model, chosen, means, FORMATS[form])
    tried: dict[str, float] = {}
    best: tuple[float, Recipe] | None = None

    def attempt(words: str, recipe: Recipe) -> None:
        nonlocal best
        distance = trials.measure(recipe)
        tried[words] = round(distance.mean, 2)
        report(f"all {len(names)} layers in {form}, {words}: {distance.mean:.1f} dB")
        if best is None or distance.mean > best[0]:
            best = distance.mean, recipe

    for method in methods:
        ranges = choose_ranges(statistics, groups, method)
        recipe = Recipe(frozenset(names), ranges, residuals=residuals, format=form)
        attempt(f"ranges by {method}", recipe)
    assert best is not None
    attempt("the best of them with corrected biases", replace(best[1], biases=biases))
    return best[1], tried


def measure_sensitivity(trials: Trials, recipe: Recipe, *, report: Report) -> list[Sensitivity]:
    """Measure each layer of the recipe alone in INT8, in the order of the graph."""
    found = []
    chosen = [layer for layer in trials.layers if layer.name in recipe.layers]
    for number, layer in enumerate(chosen):
        alone = replace(recipe, layers=frozenset({layer.name}))
        distance = trials.measure(alone, few=True)
        found.append(Sensitivity(layer.name, distance, layer.macs))
        if len(chosen) <= _STEPS or number % (len(chosen) // _STEPS) == 0:
            report(
                f"layer {number + 1} of {len(chosen)} alone: {layer.name} {distance.mean:.1f} dB"
            )
    return found


def search_mixes(
    trials: Trials,
    recipe: Recipe,
    sensitivities: Sequence[Sensitivity],
    *,
    passes: Callable[[Distance], bool],
    report: Report,
) -> list[Candidate]:
    """Return layers to FP32, starting with those that cost the most accuracy per saved work.

    The search ends a few steps after an assignment passes. The result is ordered from most to
    fewest INT8 layers.
    """
    total = sum(layer.macs for layer in trials.layers) or 1.0
    costs = {
        found.layer: found.distance.squared_error / max(found.macs, 1e-9) for found in sensitivities
    }
    macs = {layer.name: layer.macs for layer in trials.layers}
    order = sorted(costs, key=lambda name: costs[name], reverse=True)
    step = max(1, len(order) // _STEPS)
    candidates: list[Candidate] = []
    further = 0
    for removed in range(0, len(order), step):
        layers = frozenset(order[removed:])
        mix = replace(recipe, layers=layers)
        distance = trials.measure(mix)
        share = sum(macs[name] for name in layers) / total
        candidates.append(Candidate(mix, distance, share))
        report(
            f"{len(layers)} of {len(order)} layers in 8 bits, {share:.0%} of the work: "
            f"{distance.mean:.2f} dB mean, {distance.least:.2f} dB min"
        )
        if passes(distance):
            further += 1
            if further > _FURTHER:
                break
    return candidates


def without_dead_layers(
    layers: Sequence[Layer], ranges: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """Names of the layers with a value range, and of those whose inputs are all 0."""
    alive: list[str] = []
    dead: list[str] = []
    for layer in layers:
        seen = max((ranges[source] for source in layer.sources), default=0.0) > 0
        (alive if seen else dead).append(layer.name)
    return alive, dead
