"""Which layers become 8 bits: how ranges are found, what each layer costs, and a greedy mix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from restora_calibration.int8.bias import correct_biases
from restora_calibration.int8.layers import Layer
from restora_calibration.int8.qdq import Recipe
from restora_calibration.int8.ranges import METHODS, Method, choose_ranges
from restora_calibration.int8.statistics import Statistics
from restora_calibration.int8.trial import Distance, Trials

Report = Callable[[str], None]
_STEPS = 40  # of the greedy search; large networks lose several layers a step
_FURTHER = 3  # steps behind the first mix that passes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mix on the way, and how far it is from FP32. products: share of all that are 8 bits."""

    recipe: Recipe
    distance: Distance
    products: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One layer alone in 8 bits."""

    layer: str
    distance: Distance
    products: float


def choose_recipe(
    trials: Trials,
    names: Sequence[str],
    statistics: Mapping[str, Statistics],
    groups: Mapping[str, int],
    methods: Sequence[Method] = METHODS,
    *,
    residuals: bool,
    report: Report,
) -> tuple[Recipe, dict[str, float]]:
    """All of `names` in 8 bits with the ranges, and with or without corrected biases, that are
    closest to FP32; and the mean PSNR of each way. residuals: skips in 8 bits too."""
    means = {name: found.means for name, found in statistics.items()}
    biases = correct_biases(
        trials.model, [layer for layer in trials.layers if layer.name in names], means
    )
    tried: dict[str, float] = {}
    best: tuple[float, Recipe] | None = None

    def attempt(words: str, recipe: Recipe) -> None:
        nonlocal best
        distance = trials.measure(recipe)
        tried[words] = round(distance.mean, 2)
        report(f"all {len(names)} layers in 8 bits, {words}: {distance.mean:.1f} dB")
        if best is None or distance.mean > best[0]:
            best = distance.mean, recipe

    for method in methods:
        ranges = choose_ranges(statistics, groups, method)
        attempt(f"ranges by {method}", Recipe(frozenset(names), ranges, residuals=residuals))
    assert best is not None
    attempt("the best of them with corrected biases", replace(best[1], biases=biases))
    return best[1], tried


def measure_sensitivity(trials: Trials, recipe: Recipe, *, report: Report) -> list[Sensitivity]:
    """Each layer of the recipe alone, in the order of the graph."""
    found = []
    chosen = [layer for layer in trials.layers if layer.name in recipe.layers]
    for number, layer in enumerate(chosen):
        alone = replace(recipe, layers=frozenset({layer.name}))
        distance = trials.measure(alone, few=True)
        found.append(Sensitivity(layer.name, distance, layer.products))
        if len(chosen) <= _STEPS or number % (len(chosen) // _STEPS) == 0:
            report(
                f"{number + 1} of {len(chosen)} layers alone: {layer.name} {distance.mean:.1f} dB"
            )
    return found


def search_mixes(
    trials: Trials,
    recipe: Recipe,
    sensitivities: Sequence[Sensitivity],
    *,
    min_psnr: float,
    report: Report,
) -> list[Candidate]:
    """Layers go back to FP32, those first that cost most accuracy for what they save, until the
    mean PSNR passes, and a little further. From all layers in 8 bits to fewest."""
    total = sum(layer.products for layer in trials.layers) or 1.0
    costs = {
        found.layer: found.distance.squared_error / max(found.products, 1e-9)
        for found in sensitivities
    }
    products = {layer.name: layer.products for layer in trials.layers}
    order = sorted(costs, key=lambda name: costs[name], reverse=True)
    step = max(1, len(order) // _STEPS)
    candidates: list[Candidate] = []
    further = 0
    for removed in range(0, len(order), step):
        layers = frozenset(order[removed:])
        mix = replace(recipe, layers=layers)
        distance = trials.measure(mix)
        share = sum(products[name] for name in layers) / total
        candidates.append(Candidate(mix, distance, share))
        report(
            f"{len(layers)} of {len(order)} layers in 8 bits, {share:.0%} of the products: "
            f"{distance.mean:.2f} dB mean, {distance.least:.2f} least"
        )
        if distance.mean >= min_psnr:
            further += 1
            if further > _FURTHER:
                break
    return candidates


def without_dead_layers(
    layers: Sequence[Layer], ranges: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """Names of layers that see values, and of those that saw nothing but 0 (no range)."""
    alive: list[str] = []
    dead: list[str] = []
    for layer in layers:
        seen = max((ranges[source] for source in layer.sources), default=0.0) > 0
        (alive if seen else dead).append(layer.name)
    return alive, dead
