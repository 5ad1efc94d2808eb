"""Search the layer assignment: sensitivity of each layer or block, then a greedy search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from restora_calibration.int8.layers import Layer
from restora_calibration.int8.plan import Plan
from restora_calibration.int8.qdq import Recipe
from restora_calibration.int8.trial import Distance, Trials

Report = Callable[[str], None]
_UNITS = 40  # of layers that are measured and return to FP32 together
_TILES = 4  # that units are measured on
FURTHER = 3  # assignments to try after the first one that passes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layer assignment and its distance from FP32. macs: share of the multiplications in INT8."""

    recipe: Recipe
    distance: Distance
    macs: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The distance from FP32 with a single unit in INT8.

    layer: name of the unit: of a layer, or of the block that `layers` belong to
    macs: multiplications of the unit per input pixel
    """

    layer: str
    distance: Distance
    macs: float
    layers: tuple[str, ...]


def group_layers(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Group layers to at most 40 units: each layer, or each block that its name says, or larger
    blocks. A network with more than 40 large blocks has a unit for each.

    Returns the layers of each unit, in the order of `names`.
    """
    units = {name: [name] for name in names}
    for cut in range(max((name.count(".") for name in names), default=0), 1, -1):
        if len(units) <= _UNITS:
            break
        units = _units_of(names, cut)
    return {found[0] if len(found) == 1 else unit: tuple(found) for unit, found in units.items()}


class Search:
    """Layer assignments, measured one by one.

    The first one is that of the plan's preset, if there is one. Then units return to FP32, starting
    with those that cost the most accuracy per saved work. How many must return is found by
    bisection; assignments with one more unit in FP32 each follow.

    sensitivities: those of the units; empty as long as nothing but the preset was measured
    """

    def __init__(self, trials: Trials, recipe: Recipe, plan: Plan, report: Report) -> None:
        self.sensitivities: list[Sensitivity] = []
        self._trials, self._recipe, self._plan, self._report = trials, recipe, plan, report

    def __iter__(self) -> Iterator[Candidate]:
        every = self._recipe.layers
        if self._plan.preset is not None:
            yield self._measure(self._plan.preset.choose(every))
        self.sensitivities = measure_sensitivity(self._trials, self._recipe, report=self._report)
        order = sorted(
            self.sensitivities,
            key=lambda found: self._plan.cost_of(found.distance) / max(found.macs, 1e-9),
            reverse=True,
        )

        def measure(removed: int) -> Candidate:
            return self._measure(
                frozenset(name for unit in order[removed:] for name in unit.layers)
            )

        failing, passing = -1, len(order) - 1
        while passing - failing > 1:
            middle = 0 if failing < 0 else (failing + passing) // 2
            found = measure(middle)
            if self._plan.passes(found.distance):
                passing = middle
            else:
                failing = middle
                yield found
        for removed in range(passing, len(order)):
            yield measure(removed)

    def _measure(self, layers: frozenset[str]) -> Candidate:
        found = measure_mix(self._trials, replace(self._recipe, layers=layers))
        self._report(
            f"{len(layers)} of {len(self._recipe.layers)} layers in 8 bits, {found.macs:.0%} of "
            f"the work: {found.distance.mean:.2f} dB mean, {found.distance.least:.2f} dB min"
        )
        return found


def measure_sensitivity(trials: Trials, recipe: Recipe, *, report: Report) -> list[Sensitivity]:
    """Measure each unit of the recipe's layers alone in INT8, in the order of the graph.

    It is measured on the tiles that are worst with all layers in INT8: the search must make those
    pass.
    """
    found = []
    worst = trials.find_worst(recipe, _TILES)
    macs = {layer.name: layer.macs for layer in trials.layers}
    units = group_layers([layer.name for layer in trials.layers if layer.name in recipe.layers])
    for number, (unit, layers) in enumerate(units.items(), 1):
        distance = trials.measure(replace(recipe, layers=frozenset(layers)), only=worst)
        found.append(Sensitivity(unit, distance, sum(macs[name] for name in layers), layers))
        report(f"{number} of {len(units)} alone: {unit} {distance.mean:.1f} dB")
    return found


def measure_mix(trials: Trials, recipe: Recipe) -> Candidate:
    """Measure a layer assignment on the tiles of the search."""
    total = sum(layer.macs for layer in trials.layers) or 1.0
    mine = sum(layer.macs for layer in trials.layers if layer.name in recipe.layers)
    return Candidate(recipe, trials.measure(recipe), mine / total)


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


def _units_of(names: Sequence[str], cut: int) -> dict[str, list[str]]:
    units: dict[str, list[str]] = {}
    for name in names:
        units.setdefault(".".join(name.split(".")[:cut]), []).append(name)
    return units
