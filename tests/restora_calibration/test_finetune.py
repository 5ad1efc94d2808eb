"""Facts about fine-tuning weights in INT8, and about running graphs in PyTorch for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper

from dense_network import load_dense_network
from export_cache import kept
from restora.artifact import measure_psnr
from restora.errors import ModelError, OptionError
from restora_benchmarks.recipe import fill_network
from restora_calibration.int8 import tuning
from restora_calibration.int8.finetune import tune_recipe
from restora_calibration.int8.layers import find_layers, group_sources, inner_layers
from restora_calibration.int8.plan import Plan
from restora_calibration.int8.qdq import Recipe, quantize_graph
from restora_calibration.int8.ranges import choose_ranges
from restora_calibration.int8.runner import open_runner
from restora_calibration.int8.statistics import gather_statistics
from restora_calibration.int8.torch_graph import TorchGraph
from restora_calibration.int8.trial import Distance, TrialLog
from restora_calibration.int8.tuning import choose_tuned
from restora_export.onnx_file import onnx_from_network
from restora_export.photo_tiles import load_photo_tiles
from restora_export.reference import SRVGGNetCompact

Tiles = NDArray[np.uint8]
WITHOUT = "body.0.blocks.1.conv3"  # stays in FP32


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return load_dense_network()


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    return load_photo_tiles()[:3, :24, :32].copy()


@pytest.fixture(scope="module")
def recipe(model: onnx.ModelProto, tiles: Tiles) -> Recipe:
    return recipe_of(model, tiles)


def recipe_of(model: onnx.ModelProto, tiles: Tiles) -> Recipe:
    layers = inner_layers(find_layers(model))
    groups = group_sources(layers)
    ranges = choose_ranges(gather_statistics(model, groups, tiles), groups, "max")
    return Recipe(frozenset(layer.name for layer in layers) - {WITHOUT}, ranges)


def tune(model: onnx.ModelProto, recipe: Recipe, tiles: Tiles, **more: Any) -> Recipe:
    return tune_recipe(model, find_layers(model), recipe, tiles, report=ignore, **more)


def ignore(_line: str) -> None:
    pass


def run(model: onnx.ModelProto, tiles: Tiles) -> NDArray[np.uint8]:
    return np.asarray(open_runner(model)(tiles))


@pytest.mark.parametrize("kind", ["rrdb", "srvgg"])
def test_a_graph_in_pytorch_computes_what_the_runtime_computes(
    kind: str, model: onnx.ModelProto, tiles: Tiles
) -> None:
    if kind == "srvgg":
        network = fill_network(SRVGGNetCompact(2, 8, 3), 0, "srvgg")
        made = kept("srvgg", lambda: onnx_from_network(network, io="uint8").SerializeToString())
        model = onnx.load_from_string(made)
    for graph in (model, quantize_graph(model, find_layers(model), recipe_of(model, tiles))):
        with torch.no_grad():
            got = TorchGraph(graph).run(torch.from_numpy(tiles).float()).numpy()
        assert got.shape == (3, 48, 64, 3)
        difference = np.abs(got - run(graph, tiles))
        # values on the edge between two levels, or two steps in INT8, may fall either way
        assert (difference > 1).mean() < 1e-3
        assert (difference > 0).mean() < 0.02


def test_rounded_weights_have_gradients(
    model: onnx.ModelProto, recipe: Recipe, tiles: Tiles
) -> None:
    graph = quantize_graph(model, find_layers(model), recipe)
    name = "conv_up1.weight_int8"
    (values,) = (tensor for tensor in graph.graph.initializer if tensor.name == name)
    steps = torch.from_numpy(onnx.numpy_helper.to_array(values).astype(np.float32))
    steps.requires_grad_()
    TorchGraph(graph, [name]).run(torch.from_numpy(tiles).float(), {name: steps}).mean().backward()
    assert steps.grad is not None
    assert (steps.grad != 0).any((1, 2, 3)).all()


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (helper.make_node("Softmax", ["image"], ["restored"]), "no operator Softmax"),
        (
            helper.make_node("DepthToSpace", ["image"], ["restored"], blocksize=2),
            "DepthToSpace in the form that",
        ),
    ],
)
def test_an_unknown_operator_is_refused(node: onnx.NodeProto, told: str) -> None:
    shape = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "unknown", [shape], [shape])
    with pytest.raises(ModelError, match=told):
        TorchGraph(helper.make_model(graph))


def test_operators_that_the_picture_does_not_depend_on_need_not_be_known() -> None:
    nodes = [
        helper.make_node("Softmax", ["image"], ["channel_means"]),
        helper.make_node("Relu", ["image"], ["restored"]),
    ]
    shape = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)
    graph = TorchGraph(helper.make_model(helper.make_graph(nodes, "two", [shape], [shape])))
    assert graph.run(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]


def test_tuned_weights_are_closer_to_fp32_and_stay_in_int8(
    model: onnx.ModelProto, recipe: Recipe, tiles: Tiles
) -> None:
    layers = find_layers(model)
    random = np.random.default_rng(0)
    graph = quantize_graph(model, layers, recipe)
    weights = {
        tensor.name.removesuffix(".weight_int8"): onnx.numpy_helper.to_array(tensor)
        for tensor in graph.graph.initializer
        if tensor.name.endswith(".weight_int8")
    }
    poor = {
        name: np.clip(values.astype(int) + random.integers(-4, 5, values.shape), -127, 127)
        for name, values in weights.items()
    }
    start = replace(recipe, weights={name: x.astype(np.int8) for name, x in poor.items()})
    tuned = tune(model, start, tiles, steps=60, rate=1.0)
    exact = run(model, tiles)
    before, after = (
        measure_psnr(run(quantize_graph(model, layers, found), tiles), exact)
        for found in (start, tuned)
    )
    assert after[0] > before[0] + 3
    assert after[1] > before[1] + 3
    assert set(tuned.weights) == set(tuned.biases) == recipe.layers
    assert all(values.dtype == np.int8 for values in tuned.weights.values())
    assert min(int(values.min()) for values in tuned.weights.values()) == -127
    assert tuned.ranges == recipe.ranges


def test_fine_tuning_is_repeatable(model: onnx.ModelProto, recipe: Recipe, tiles: Tiles) -> None:
    one, two, other = (
        tune(model, recipe, tiles, steps=6, rate=1.0, seed=seed) for seed in (0, 0, 1)
    )
    names = sorted(recipe.layers)
    assert all(np.array_equal(one.weights[name], two.weights[name]) for name in names)
    assert all(np.array_equal(one.biases[name], two.biases[name]) for name in names)
    assert any(not np.array_equal(one.biases[name], other.biases[name]) for name in names)


def test_tuning_starts_from_the_weights_of_the_recipe(
    model: onnx.ModelProto, recipe: Recipe, tiles: Tiles
) -> None:
    layers = {layer.name: layer for layer in find_layers(model)}
    (dims,) = (t.dims for t in model.graph.initializer if t.name == layers["conv_up1"].weight)
    values = np.random.default_rng(0).integers(-127, 128, tuple(dims), np.int8)
    given = replace(recipe, weights={"conv_up1": values})
    tuned = tune(model, given, tiles, steps=1)
    # a step moves each by at most RATE, less than the half that rounding takes back
    assert np.array_equal(tuned.weights["conv_up1"], values)


class FakeTrials:
    """Measures recipes by whether their weights are `good`."""

    model, layers = None, ()

    def __init__(self, folder: Path, good: int) -> None:
        self.log = TrialLog(folder / "trials.jsonl", "key")
        self.good = good

    def measure(self, recipe: Recipe) -> Distance:
        values = {int(x.max()) for x in recipe.weights.values()}
        return Distance(45, 34.8) if self.good in values else Distance(45, 34.5)


@pytest.mark.parametrize(("good", "weight"), [(2, 2), (1, 1)])
def test_tuned_weights_are_used_if_they_are_better_on_other_tiles(
    good: int, weight: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fake_tune(_model: Any, _layers: Any, recipe: Recipe, _tiles: Any, **_: Any) -> Recipe:
        calls.append(recipe)
        biases = {"a": np.ones(1, np.float32)}
        return replace(recipe, weights={"a": np.full((1, 1, 1, 1), 2, np.int8)}, biases=biases)

    monkeypatch.setattr(tuning, "tune_recipe", fake_tune)
    before = {"a": np.ones((1, 1, 1, 1), np.int8)}
    recipe = Recipe(frozenset({"a", "b.c"}), {"x": 1.0}, weights=before)
    plan = Plan(fine_tune=7)
    for _ in range(2):  # the second run continues an interrupted one
        trials: Any = FakeTrials(tmp_path, good)
        chosen, found = choose_tuned(
            trials, recipe, np.zeros((1, 2, 2, 3), np.uint8), plan, report=ignore
        )
        assert chosen.weights["a"].item() == weight
        assert chosen.layers == recipe.layers
        assert (found.steps, found.layers, found.kept) == (7, 2, good == 2)
        assert set(chosen.biases) == ({"a"} if good == 2 else set())
    assert [call.layers for call in calls] == [recipe.layers]


@pytest.mark.parametrize("options", [{"fine_tune": -1}, {"fine_tune": 1, "format": "fp8"}])
def test_fine_tuning_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="0 steps or more, and none in FP8"):
        Plan(**options)
