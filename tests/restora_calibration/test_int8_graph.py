"""Facts about Q/DQ graphs: what is in 8 bits, how exact it is, and who can read it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from export_cache import kept
from restora.errors import ModelError, NonFiniteOutputError
from restora_benchmarks.recipe import fill_network
from restora_calibration.int8.bias import correct_biases
from restora_calibration.int8.formats import INT8, quantize_weight
from restora_calibration.int8.layers import (
    find_layers,
    group_sources,
    inner_layers,
    require_float,
)
from restora_calibration.int8.qdq import Recipe, quantize_graph
from restora_calibration.int8.ranges import METHODS, choose_ranges, find_threshold
from restora_calibration.int8.statistics import BINS, Statistics, gather_statistics, open_graph
from restora_calibration.int8.trial import run_graph
from restora_export.onnx_file import onnx_from_network
from restora_export.photo_tiles import load_photo_tiles
from restora_export.reference import RRDBNet, SRVGGNetCompact

Tiles = NDArray[np.uint8]


@pytest.fixture(scope="module")
def network() -> RRDBNet:
    torch.manual_seed(0)
    found = fill_network(RRDBNet(2, 8, 4, 1, upsamples=1), 0, "rrdb")
    assert isinstance(found, RRDBNet)
    return found


@pytest.fixture(scope="module")
def model(network: RRDBNet) -> onnx.ModelProto:
    made = kept("model", lambda: onnx_from_network(network, io="uint8").SerializeToString())
    return onnx.load_from_string(made)


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    return load_photo_tiles()[:4, :40, :48].copy()


@pytest.fixture(scope="module")
def statistics(model: onnx.ModelProto, tiles: Tiles) -> dict[str, Statistics]:
    return gather_statistics(model, group_sources(inner_layers(find_layers(model))), tiles)


def recipe_for(model: onnx.ModelProto, statistics: dict[str, Statistics], *names: str) -> Recipe:
    layers = inner_layers(find_layers(model))
    ranges = choose_ranges(statistics, group_sources(layers), "max")
    return Recipe(frozenset(names or [layer.name for layer in layers]), ranges)


def psnr(one: Tiles, other: Tiles) -> float:
    difference = (one.astype(float) - other.astype(float)) / 255
    return float(-10 * np.log10(max(1e-15, np.square(difference).mean())))


def run_all(model: onnx.ModelProto, tiles: Tiles) -> Tiles:
    return np.asarray(run_graph(open_graph(model), tiles), np.uint8)


def test_layers_are_named_as_in_the_network_and_know_where_their_input_comes_from(
    model: onnx.ModelProto,
) -> None:
    layers = {layer.name: layer for layer in find_layers(model)}
    assert next(iter(layers)) == "conv_first"
    assert list(layers)[-3:] == ["conv_up1", "conv_hr", "conv_last"]
    assert len(layers) == 1 + 15 + 1 + 3
    first, second = layers["body.0.blocks.0.conv1"], layers["body.0.blocks.0.conv5"]
    assert len(first.sources) == 1
    assert len(second.sources) == 5
    assert set(first.sources) < set(second.sources)
    # behind the enlargement a convolution does four times the work for each pixel of the picture
    assert layers["conv_up1"].macs == 4 * 8 * 8 * 9
    assert layers["conv_body"].macs == 8 * 8 * 9
    # the tensor that is enlarged, not the enlarged one
    (source,) = layers["conv_up1"].sources
    assert source != layers["conv_up1"].input


def test_tensors_that_meet_in_a_concat_share_their_range(model: onnx.ModelProto) -> None:
    layers = {layer.name: layer for layer in find_layers(model)}
    groups = group_sources(inner_layers(find_layers(model)))
    for block in range(3):
        sources = layers[f"body.0.blocks.{block}.conv5"].sources
        assert len({groups[source] for source in sources}) == 1
    assert len(set(groups.values())) == 3 + 3  # dense blocks; conv_body, conv_up1, conv_hr


def test_everything_is_symmetric_and_at_the_inputs_of_convolutions(
    model: onnx.ModelProto, statistics: dict[str, Statistics]
) -> None:
    graph = quantize_graph(model, find_layers(model), recipe_for(model, statistics))
    onnx.checker.check_model(graph, full_check=True)
    assert graph.opset_import[0].version == 17
    constants = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    makers = {name: node for node in graph.graph.node for name in node.output}
    pairs = [node for node in graph.graph.node if node.op_type.endswith("quantizeLinear")]
    pairs += [node for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    assert all(not constants[node.input[2]].any() for node in pairs)
    assert {constants[node.input[2]].dtype for node in pairs} == {np.dtype(np.int8)}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    for node in convolutions[1:-1]:
        activation, weight = makers[node.input[0]], makers[node.input[1]]
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        assert constants[activation.input[1]].shape == ()
        values = constants[weight.input[0]]
        assert constants[weight.input[1]].shape == (len(values),)
        assert np.abs(values.astype(int)).max() == INT8.largest
        assert constants[node.input[2]].dtype == np.float32
    for node in (convolutions[0], convolutions[-1]):
        assert node.input[1] in constants


def test_concats_and_enlargements_carry_8_bits(
    model: onnx.ModelProto, statistics: dict[str, Statistics]
) -> None:
    graph = quantize_graph(model, find_layers(model), recipe_for(model, statistics))
    constants = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    makers = {name: node for node in graph.graph.node for name in node.output}
    users = {name: node for node in graph.graph.node for name in node.input}
    concats = [node for node in graph.graph.node if node.op_type in ("Concat", "Resize")]
    assert len(concats) == 12 + 1
    for node in concats:
        inputs = list(node.input) if node.op_type == "Concat" else [node.input[0]]
        scales = {float(constants[makers[name].input[1]]) for name in inputs}
        behind = users[node.output[0]]
        assert behind.op_type == "QuantizeLinear"
        assert scales == {float(constants[behind.input[1]])}


def test_the_graph_computes_what_rounding_by_hand_computes(
    network: RRDBNet,
    model: onnx.ModelProto,
    statistics: dict[str, Statistics],
    tiles: Tiles,
) -> None:
    recipe = recipe_for(model, statistics, "conv_up1")
    got = run_all(quantize_graph(model, find_layers(model), recipe), tiles)
    layers = {layer.name: layer for layer in find_layers(model)}
    step = recipe.ranges[layers["conv_up1"].sources[0]] / INT8.largest

    def round_input(_module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
        return (inputs[0] / step).round().clamp(-INT8.largest, INT8.largest) * step

    conv = network.get_submodule("conv_up1")
    exact_weight = conv.weight.data.clone()  # type: ignore[union-attr, operator]
    values, scale = quantize_weight(exact_weight.numpy())
    hook = conv.register_forward_pre_hook(round_input)
    try:
        conv.weight.data = torch.from_numpy(values * scale.reshape(-1, 1, 1, 1))
        with torch.inference_mode():
            x = torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255
            y = (network(x).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).to(torch.uint8)
    finally:
        hook.remove()
        conv.weight.data = exact_weight
    difference = np.abs(got.astype(int) - y.numpy().astype(int))
    # a value on the edge of two steps may fall either way
    assert (difference > 1).mean() < 1e-3


def test_layers_that_were_not_chosen_stay_exact(
    model: onnx.ModelProto, statistics: dict[str, Statistics], tiles: Tiles
) -> None:
    nothing = replace(recipe_for(model, statistics), layers=frozenset())
    untouched = quantize_graph(model, find_layers(model), nothing)
    assert not [node for node in untouched.graph.node if "Quantize" in node.op_type]
    assert np.array_equal(run_all(untouched, tiles), run_all(model, tiles))


def test_runtimes_agree_on_it(
    model: onnx.ModelProto, statistics: dict[str, Statistics], tiles: Tiles
) -> None:
    pytest.importorskip("openvino")
    from restora.backends.openvino_core import get_core
    from restora.backends.openvino_rounding import drop_repeats, join_rounding

    core = get_core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    for names in (("body.0.blocks.0.conv2",), ("conv_up1",), ()):
        recipe = recipe_for(model, statistics, *names)
        graph = quantize_graph(model, find_layers(model), recipe)
        read = core.read_model(graph.SerializeToString())
        pairs = [node for node in graph.graph.node if node.op_type == "QuantizeLinear"]
        carried = [node for node in pairs if node.input[0].endswith("_carried")]
        assert join_rounding(read) == len(pairs)
        assert drop_repeats(read) == len(carried)
        other = core.compile_model(read, "CPU", settings)({"image": tiles})["restored"]
        assert psnr(other, run_all(graph, tiles)) > 55, names


def test_8_bit_skips_touch_the_sums_of_dense_blocks_alone(
    model: onnx.ModelProto, statistics: dict[str, Statistics]
) -> None:
    recipe = recipe_for(model, statistics)
    plain = quantize_graph(model, find_layers(model), recipe)
    skips = quantize_graph(model, find_layers(model), replace(recipe, residuals=True))
    changed = [
        node.output[0]
        for one, node in zip(plain.graph.node, skips.graph.node, strict=True)
        if node.op_type == "Add" and list(one.input) != list(node.input)
    ]
    assert len(changed) == 3


def test_a_compact_network_is_quantized_too(tiles: Tiles) -> None:
    network = fill_network(SRVGGNetCompact(2, 8, 3), 0, "srvgg")
    model = onnx_from_network(network, io="uint8")
    layers = find_layers(model)
    groups = group_sources(inner_layers(layers))
    ranges = choose_ranges(gather_statistics(model, groups, tiles), groups, "max")
    recipe = Recipe(frozenset(layer.name for layer in inner_layers(layers)), ranges)
    graph = quantize_graph(model, layers, recipe)
    onnx.checker.check_model(graph, full_check=True)
    assert psnr(run_all(graph, tiles), run_all(model, tiles)) > 25


def test_corrected_biases_take_the_mean_error_away(
    model: onnx.ModelProto, statistics: dict[str, Statistics], tiles: Tiles
) -> None:
    layers = find_layers(model)
    (layer,) = (found for found in layers if found.name == "body.0.blocks.1.conv3")
    output = model.graph.node[layer.node].output[0]
    coarse = onnx.ModelProto()
    coarse.CopyFrom(model)
    recipe = recipe_for(model, statistics, layer.name)
    means = {name: found.means for name, found in statistics.items()}
    biases = correct_biases(model, [layer], means)

    def output_means(graph: onnx.ModelProto) -> NDArray[np.float64]:
        info = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
        graph.graph.output.append(info)
        values = open_graph(graph).run([output], {"image": tiles})[0]
        # away from borders, where the padding is not the mean
        return np.asarray(values[..., 2:-2, 2:-2].mean((0, 2, 3)), np.float64)

    exact = output_means(coarse)
    plain = output_means(quantize_graph(model, layers, recipe))
    mended = output_means(quantize_graph(model, layers, replace(recipe, biases=biases)))
    assert np.abs(mended - exact).mean() < np.abs(plain - exact).mean()


def test_a_value_that_is_no_number_is_named(model: onnx.ModelProto, tiles: Tiles) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    (bias,) = (t for t in broken.graph.initializer if t.name.endswith("blocks.1.conv2.bias"))
    values = numpy_helper.to_array(bias).copy()
    values[0] = np.nan
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    groups = group_sources(inner_layers(find_layers(broken)))
    with pytest.raises(NonFiniteOutputError, match="NaN or Inf on a calibration tile"):
        gather_statistics(broken, groups, tiles)


def test_what_is_quantized_or_in_half_precision_already_is_refused(
    network: RRDBNet, model: onnx.ModelProto, statistics: dict[str, Statistics]
) -> None:
    require_float(model)
    graph = quantize_graph(model, find_layers(model), recipe_for(model, statistics))
    with pytest.raises(ModelError, match="quantized already"):
        require_float(graph)
    with pytest.raises(ModelError, match="FP16"):
        require_float(onnx_from_network(network, io="uint8", precision="fp16"))


def test_a_few_outliers_are_cut_off_by_all_ways_but_the_largest_value() -> None:
    histogram = np.zeros(BINS)
    histogram[: BINS // 8] = np.linspace(1000, 10, BINS // 8)
    histogram[-1] = 1
    cut = {method: find_threshold(histogram, 8.0, method) for method in METHODS}
    assert cut["max"] == 8
    assert all(0.9 < cut[method] < 1.1 for method in ("percentile", "entropy"))
    # the one value at 8 weighs by its square
    assert 2 < cut["mse"] < 6


def test_values_that_are_all_alike_keep_their_range() -> None:
    histogram = np.zeros(BINS)
    histogram[-1] = 500
    for method in METHODS:
        assert find_threshold(histogram, 3.0, method) == pytest.approx(3, rel=0.02)
        assert find_threshold(np.zeros(BINS), 0.0, method) == 0


@given(
    st.lists(st.integers(0, 10_000), min_size=8, max_size=64).filter(any),
    st.floats(1e-3, 1e3),
    st.sampled_from(METHODS),
)
def test_a_threshold_lies_within_what_was_seen(
    counts: list[int], limit: float, method: str
) -> None:
    histogram = np.repeat(np.array(counts, float), BINS // len(counts) + 1)[:BINS]
    found = find_threshold(histogram, limit, method)  # type: ignore[arg-type]
    assert 0 < found <= limit * (1 + 1e-6) or not histogram.any()


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_weights_are_off_by_half_a_step_at_most(channels: int, seed: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(channels, 3, 3, 3)).astype(np.float32)
    weight[0] = 0  # a channel without weights has a scale all the same
    values, scale = quantize_weight(weight)
    error = np.abs(values * scale.reshape(-1, 1, 1, 1) - weight)
    assert (error <= 0.5001 * scale.reshape(-1, 1, 1, 1)).all()
    assert (scale > 0).all()
