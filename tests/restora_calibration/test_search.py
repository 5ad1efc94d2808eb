"""Facts about the search of layers: in units, from a preset, and nothing is measured twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restora_calibration.int8.layers import Layer
from restora_calibration.int8.plan import Plan
from restora_calibration.int8.presets import Preset, find_preset
from restora_calibration.int8.qdq import Recipe
from restora_calibration.int8.search import Candidate, Search, group_layers
from restora_calibration.int8.trial import Distance, TrialLog

RRDB = [
    f"body.{block}.blocks.{dense}.conv{number}"
    for block in range(23)
    for dense in range(3)
    for number in range(1, 6)
]
HEAD = ["conv_body", "conv_up1", "conv_up2", "conv_hr"]


def test_a_small_network_is_searched_layer_by_layer() -> None:
    names = [f"body.{number}" for number in range(2, 34, 2)]
    assert group_layers(names) == {name: (name,) for name in names}


def test_a_large_network_is_searched_block_by_block() -> None:
    dense = group_layers([*RRDB[: 6 * 15], *HEAD])
    assert len(dense) == 6 * 3 + 4
    assert dense["body.5.blocks.2"] == tuple(f"body.5.blocks.2.conv{n}" for n in range(1, 6))
    large = group_layers([*RRDB, *HEAD])
    assert len(large) == 23 + 4
    assert len(large["body.22.blocks"]) == 15
    assert large["conv_hr"] == ("conv_hr",)


def test_layers_without_blocks_are_searched_one_by_one_however_many() -> None:
    names = [f"conv{number}" for number in range(60)]
    assert len(group_layers(names)) == 60


class Counted:
    """Measures mixes by how many layers of `bad` they have in 8 bits."""

    def __init__(self, bad: set[str]) -> None:
        self.layers = [Layer(name, 0, name, (name,), name, 1.0) for name in [*RRDB[:90], *HEAD]]
        self.bad = bad
        self.measured = 0

    def find_worst(self, _recipe: Recipe, count: int) -> tuple[int, ...]:
        return tuple(range(count))

    def measure(self, recipe: Recipe, *, only: tuple[int, ...] | None = None) -> Distance:
        assert only in (None, (0, 1, 2, 3))
        self.measured += 1
        wrong = len(recipe.layers & self.bad)
        return Distance(45 - 10 * wrong, 40 - 10 * wrong)


def find(trials: Counted, preset: Preset | None) -> tuple[Search, list[Candidate]]:
    """The search, and what it measured until something passed."""
    recipe = Recipe(frozenset(layer.name for layer in trials.layers), {})
    given: Any = trials
    search = Search(given, recipe, replace(Plan(), preset=preset), lambda _words: None)
    measured = []
    for found in search:
        measured.append(found)
        if found.distance.mean >= 40:
            break
    return search, measured


def kept_by(trials: Counted, found: Candidate) -> set[str]:
    return {layer.name for layer in trials.layers} - found.recipe.layers


def test_the_block_that_costs_most_returns_to_fp32_as_a_whole() -> None:
    trials = Counted({"body.3.blocks.1.conv2"})
    search, (everything, mixed) = find(trials, None)
    assert len(search.sensitivities) == 6 * 3 + 4
    assert not kept_by(trials, everything)
    assert kept_by(trials, mixed) == {f"body.3.blocks.1.conv{number}" for number in range(1, 6)}
    assert mixed.macs == pytest.approx(89 / 94)


def test_how_many_blocks_must_return_is_found_without_trying_each_number() -> None:
    bad = {f"body.{block}.blocks.0.conv1" for block in range(5)}
    trials = Counted(bad)
    search, measured = find(trials, None)
    mixes = trials.measured - len(search.sensitivities)
    assert mixes <= 7  # all, 22 halved again and again, and what passes once more, from the log
    passing = [found for found in measured if found.distance.mean >= 40]
    assert len(passing) == 1
    assert not passing[0].recipe.layers & bad
    assert len(passing[0].recipe.layers) == 94 - 5 * 5


def test_a_preset_that_passes_saves_the_search() -> None:
    trials = Counted({"body.3.blocks.1.conv2", "conv_hr"})
    search, (found,) = find(trials, Preset(("body.3.blocks.1", "conv_hr"), "mse"))
    assert trials.measured == 1
    assert search.sensitivities == []
    block = {f"body.3.blocks.1.conv{number}" for number in range(1, 6)}
    assert kept_by(trials, found) == {"conv_hr", *block}


def test_a_preset_that_does_not_pass_is_searched_past() -> None:
    """The network of that name may have other weights."""
    trials = Counted({"conv_hr"})
    search, (preset, *_, last) = find(trials, Preset(("conv_up1",), "mse"))
    assert kept_by(trials, preset) == {"conv_up1"}
    assert kept_by(trials, last) == {"conv_hr"}
    assert search.sensitivities


def test_a_preset_chooses_the_method_of_ranges_unless_one_is_asked_for() -> None:
    preset = Preset((), "mse")
    assert Plan(preset=preset).range_methods == ("mse",)
    assert Plan(methods=("max",), preset=preset).range_methods == ("max",)
    assert len(Plan().range_methods) == 4
    assert Plan(format="fp8").range_methods == ("max",)


def test_a_model_without_a_preset_is_searched() -> None:
    assert find_preset("my_net") is None


def test_the_presets_keep_whole_blocks_of_published_networks() -> None:
    assert find_preset("realesr-animevideov3") == Preset((), "mse")
    found = find_preset("RealESRGAN_x4plus_anime_6B")
    assert found is not None
    chosen = found.choose([*RRDB[:90], *HEAD])
    assert {name.rpartition(".")[0] for name in chosen if "." in name} == {
        "body.0.blocks.1",
        "body.2.blocks.0",
    }
    assert len(chosen) == 13
    larger = find_preset("RealESRGAN_x4plus")
    assert larger is not None
    chosen = larger.choose([*RRDB, *HEAD])
    assert len(chosen) == 302
    assert "conv_hr" in chosen
    assert "body.14.blocks.2.conv5" not in chosen
    tuned = find_preset("RealESRGAN_x4plus", tuned=True)
    assert tuned is not None
    assert tuned.choose([*RRDB, *HEAD]) > chosen


def test_a_preset_without_layers_for_fine_tuned_weights_holds_for_both() -> None:
    assert find_preset("realesr-animevideov3", tuned=True) == Preset((), "mse")
    assert find_preset("my_net", tuned=True) is None


def test_arrays_that_took_long_outlive_the_run_and_go_with_its_log(tmp_path: Path) -> None:
    made = {"a.weight": np.arange(6, dtype=np.int8).reshape(2, 3)}
    path = tmp_path / "net.int8.trials.jsonl"

    def fail() -> dict[str, Any]:
        raise AssertionError("computed again")

    log = TrialLog(path, "one")
    log.keep("weights", lambda: made)
    again = TrialLog(path, "one").keep("weights", fail)
    assert np.array_equal(again["a.weight"], made["a.weight"])
    assert again["a.weight"].dtype == np.int8
    with pytest.raises(AssertionError, match="computed again"):
        TrialLog(path, "of another run").keep("weights", fail)
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:-20])  # the end of a killed run
    assert log.keep("weights", lambda: made) == made
    log.remove()
    assert not list(tmp_path.iterdir())


def test_nothing_is_kept_without_a_file() -> None:
    assert TrialLog(None, "").keep("weights", dict) == {}
