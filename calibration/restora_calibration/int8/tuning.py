"""Decide whether a layer assignment is better with fine-tuned weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from restora_calibration.int8.finetune import tune_recipe
from restora_calibration.int8.plan import Plan
from restora_calibration.int8.qdq import Recipe
from restora_calibration.int8.statistics import Tiles
from restora_calibration.int8.trial import Distance, Trials, key_of

Report = Callable[[str], None]
_WEIGHT, _BIAS = "weight ", "bias "


@dataclass(frozen=True, slots=True)
class Tuning:
    """A fine-tuning: the distance from FP32 before and after it, on the tiles of the search.

    kept: whether the weights after it are used
    """

    steps: int
    layers: int
    before: Distance
    after: Distance
    kept: bool


def choose_tuned(
    trials: Trials, recipe: Recipe, tiles: Tiles, plan: Plan, *, report: Report
) -> tuple[Recipe, Tuning]:
    """Fine-tune all layers of a recipe together.

    tiles: the tiles to train on, in the dtype of the graph

    Returns the recipe with the weights that are more accurate on the tiles of the search, which are
    not trained on.
    """
    report(f"fine-tuning {len(recipe.layers)} layers in INT8 on {len(tiles)} tiles")

    def make() -> Mapping[str, NDArray[Any]]:
        tuned = tune_recipe(
            trials.model, trials.layers, recipe, tiles, steps=plan.fine_tune, report=report
        )
        weights = {_WEIGHT + name: values for name, values in tuned.weights.items()}
        return weights | {_BIAS + name: values for name, values in tuned.biases.items()}

    kept = trials.log.keep(f"tuned-{plan.fine_tune}-{key_of(recipe)}", make)
    tuned = replace(recipe, weights=_select(kept, _WEIGHT), biases=_select(kept, _BIAS))
    before, after = trials.measure(recipe), trials.measure(tuned)
    better = plan.cost_of(after) < plan.cost_of(before)
    report(
        f"fine-tuned: {after.mean:.2f} dB mean, {after.least:.2f} dB min, before {before.mean:.2f} "
        f"and {before.least:.2f}" + ("" if better else ", so the weights before are kept")
    )
    tuning = Tuning(plan.fine_tune, len(recipe.layers), before, after, better)
    return tuned if better else recipe, tuning


def _select(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): x for k, x in arrays.items() if k.startswith(prefix)}
