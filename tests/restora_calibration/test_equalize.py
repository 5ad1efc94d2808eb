"""Facts about equalized channels: the network stays what it is, and all channels use the range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export_cache import kept
from restora.artifact import measure_psnr
from restora.errors import ModelError
from restora_benchmarks.recipe import fill_network
from restora_calibration.int8.equalize import (
    ChannelFactors,
    choose_factors,
    scale_channels,
    scale_peaks,
)
from restora_calibration.int8.layers import Layer, find_layers, group_sources, inner_layers
from restora_calibration.int8.qdq import Recipe, quantize_graph
from restora_calibration.int8.recipes import choose_largest
from restora_calibration.int8.statistics import gather_channels, open_graph
from restora_calibration.int8.streams import find_streams
from restora_calibration.int8.trial import run_graph
from restora_export.onnx_file import onnx_from_network
from restora_export.photo_tiles import load_photo_tiles
from restora_export.reference import RRDBNet, SRVGGNetCompact

Tiles = NDArray[np.uint8]


def export(kind: str) -> bytes:
    network = RRDBNet(2, 8, 4, 1, upsamples=1) if kind == "rrdb" else SRVGGNetCompact(2, 8, 3)
    filled = fill_network(network, 0, kind)
    return bytes(onnx_from_network(filled, io="uint8").SerializeToString())


@pytest.fixture(scope="module", params=["rrdb", "srvgg"])
def model(request: pytest.FixtureRequest) -> onnx.ModelProto:
    """A network whose channels have very different ranges, as those of real networks have."""
    found = onnx.load_from_string(kept(request.param, lambda: export(request.param)))
    random = np.random.default_rng(0)
    layers = find_layers(found)
    streams = find_streams(found, layers)
    peaks = {name: np.exp(random.normal(size=s.channels)) for s in streams for name in s.tensors}
    groups = {name: number for number, name in enumerate(peaks)}
    return scale_channels(found, layers, choose_factors(found, layers, groups, peaks).layers)


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    return load_photo_tiles()[:3, :40, :48].copy()


def measure(
    model: onnx.ModelProto, tiles: Tiles
) -> tuple[list[Layer], dict[str, int], dict[str, NDArray[np.float64]]]:
    layers = find_layers(model)
    groups = group_sources(inner_layers(layers))
    found = gather_channels(model, groups, tiles)
    return layers, groups, {name: one.peaks for name, one in found.items()}


def run(model: onnx.ModelProto, tiles: Tiles) -> Tiles:
    return np.asarray(run_graph(open_graph(model), tiles), np.uint8)


def test_the_scaled_network_computes_the_same(model: onnx.ModelProto, tiles: Tiles) -> None:
    layers, groups, peaks = measure(model, tiles)
    factors = choose_factors(model, layers, groups, peaks).layers
    assert set(factors) == {layer.name for layer in layers[:-1]}  # the last one stays in FP32
    scaled = scale_channels(model, layers, factors)
    changed = [
        one.name
        for one, other in zip(model.graph.initializer, scaled.graph.initializer, strict=True)
        if one.raw_data != other.raw_data
    ]
    assert len([name for name in changed if name.endswith("weight")]) == len(factors)
    difference = np.abs(run(scaled, tiles).astype(int) - run(model, tiles))
    assert difference.max() <= 1  # a value between two levels may be rounded either way
    assert difference.mean() < 1e-3


def test_all_channels_use_the_range_then(model: onnx.ModelProto, tiles: Tiles) -> None:
    layers, groups, peaks = measure(model, tiles)
    factors = choose_factors(model, layers, groups, peaks)
    after = scale_peaks(model, layers, factors, peaks)
    shared = choose_factors(model, layers, groups, peaks, branches=False)
    without = scale_peaks(model, layers, shared, peaks)
    assert not shared.branches

    def used(found: dict[str, NDArray[np.float64]]) -> float:
        ranges = choose_largest(found, groups)
        return float(np.mean([np.mean(found[name] / ranges[name]) for name in found]))

    assert used(peaks) < 0.5
    assert used(without) > 0.75
    assert used(after) == pytest.approx(1, abs=0.01)


def test_peaks_in_the_scaled_network_need_no_run(model: onnx.ModelProto, tiles: Tiles) -> None:
    layers, groups, peaks = measure(model, tiles)
    factors = choose_factors(model, layers, groups, peaks, branches=False)
    expected = measure(scale_channels(model, layers, factors.layers), tiles)[2]
    found = scale_peaks(model, layers, factors, peaks)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-4, abs=1e-6)


def test_8_bits_are_more_accurate_with_equal_channels(model: onnx.ModelProto, tiles: Tiles) -> None:
    layers, groups, peaks = measure(model, tiles)
    factors = choose_factors(model, layers, groups, peaks)
    names = frozenset(layer.name for layer in inner_layers(layers))
    plain = Recipe(names, choose_largest(peaks, groups))
    ranges = choose_largest(scale_peaks(model, layers, factors, peaks), groups)
    equal = replace(plain, ranges=ranges, factors=factors)
    exact = run(model, tiles)
    before, _ = measure_psnr(run(quantize_graph(model, layers, plain), tiles), exact)
    after, _ = measure_psnr(run(quantize_graph(model, layers, equal), tiles), exact)
    assert after > before + 3


def test_factors_of_single_blocks_are_taken_back_by_the_weights() -> None:
    """With steps too small to see, the graph in 8 bits computes what the network computes."""
    model = onnx.load_from_string(kept("rrdb", lambda: export("rrdb")))
    tiles = load_photo_tiles()[:2, :24, :24].copy()
    layers, groups, peaks = measure(model, tiles)
    factors = choose_factors(model, layers, groups, peaks)
    wanted = ("conv_up1", "body.0.blocks.1.conv3")
    sources = {name for layer in layers if layer.name in wanted for name in layer.sources}
    random = np.random.default_rng(0)
    uneven = {
        name: np.exp(random.normal(size=len(values))).astype(np.float32)
        for name, values in factors.branches.items()
    }
    assert sources & set(uneven)
    moved = {
        layer.name: replace(found, rounded=rounded_inputs(layer, uneven, peaks))
        for layer in layers
        if (found := factors.layers.get(layer.name)) is not None
    }
    ranges = choose_largest(scale_peaks(model, layers, factors, peaks), groups)
    spread = max(float(values.max() / values.min()) for values in uneven.values())
    recipe = Recipe(
        frozenset(wanted),
        {name: value * spread for name, value in ranges.items()},
        factors=replace(factors, layers=moved, branches=uneven),
    )
    plain = replace(recipe, ranges=ranges, factors=factors)
    exact = run(model, tiles)
    for one in (plain, recipe):
        mean, _ = measure_psnr(run(quantize_graph(model, layers, one), tiles), exact)
        assert mean > 38  # 20 dB if the weights do not take the factors back


def rounded_inputs(
    layer: Layer, branches: dict[str, NDArray[np.float32]], peaks: dict[str, NDArray[np.float64]]
) -> NDArray[np.float32]:
    sizes = {name: len(values) for name, values in peaks.items()}
    parts = [branches.get(name, np.ones(sizes.get(name, 3), np.float32)) for name in layer.sources]
    return np.concatenate(parts)


def test_the_features_of_all_residual_blocks_are_one_stream() -> None:
    model = onnx.load_from_string(kept("rrdb", lambda: export("rrdb")))
    layers = find_layers(model)
    wide, *others = sorted(find_streams(model, layers), key=lambda stream: -len(stream.tensors))
    assert set(wide.makers) == {
        "conv_first",
        *(f"body.0.blocks.{block}.conv5" for block in range(3)),
        "conv_body",
    }
    assert {"conv_body", "conv_up1"} <= {layer for layer, _, _ in wide.users}
    # those between the convolutions of dense blocks, behind conv_up1 and behind conv_hr
    assert len(others) == 3 * 4 + 2
    inner = next(stream for stream in others if stream.makers == ("body.0.blocks.1.conv2",))
    assert {layer: start for layer, start, _ in inner.users} == {
        f"body.0.blocks.1.conv{number}": 12 for number in (3, 4, 5)
    }


def chain(*between: onnx.NodeProto, start: str = "a", end: str = "a") -> onnx.ModelProto:
    """Two convolutions of two channels with nodes between them, from tensor `start` to `end`."""
    weights = [np.ones((2, 2, 1, 1), np.float32), np.ones((2, 2, 1, 1), np.float32)]
    nodes = [
        helper.make_node("Conv", ["image", "one.weight"], [start]),
        *between,
        helper.make_node("Conv", [end, "two.weight"], ["restored"]),
    ]
    value = [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 2, 4, 4))]
    result = [helper.make_tensor_value_info("restored", TensorProto.FLOAT, (1, 2, 4, 4))]
    names = ("one.weight", "two.weight")
    constants = [numpy_helper.from_array(w, n) for w, n in zip(weights, names, strict=True)]
    constants.append(numpy_helper.from_array(np.full((2, 1, 1), 0.1, np.float32), "slope"))
    constants.append(numpy_helper.from_array(np.ones(2, np.float32), "moved"))
    constants.append(numpy_helper.from_array(np.zeros(2, np.float32), "still"))
    return helper.make_model(helper.make_graph(nodes, "chain", value, result, constants))


def batch_norm(mean: str) -> onnx.NodeProto:
    return helper.make_node("BatchNormalization", ["a", "moved", "still", mean, "moved"], ["b"])


@pytest.mark.parametrize(
    ("node", "end", "streams"),
    [
        (None, "a", 1),
        (helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.2), "b", 1),
        (helper.make_node("PRelu", ["a", "slope"], ["b"]), "b", 1),
        (batch_norm("still"), "b", 1),
        (batch_norm("moved"), "b", 0),
        (helper.make_node("Sigmoid", ["a"], ["b"]), "b", 0),
        (helper.make_node("Add", ["a", "slope"], ["b"]), "b", 0),
        (helper.make_node("Add", ["a", "image"], ["b"]), "b", 0),
        (helper.make_node("Sigmoid", ["a"], ["b"]), "a", 0),
    ],
)
def test_a_stream_ends_where_its_channels_cannot_be_scaled(
    node: onnx.NodeProto | None, end: str, streams: int
) -> None:
    model = chain(*([] if node is None else [node]), end=end)
    assert len(find_streams(model, find_layers(model))) == streams


def test_a_weight_that_two_convolutions_share_is_not_scaled() -> None:
    model = chain(helper.make_node("Conv", ["a", "two.weight"], ["b"]), end="b")
    assert find_streams(model, find_layers(model)) == []


def test_factors_that_leave_fp16_are_refused() -> None:
    model = chain()
    for tensor in model.graph.initializer:
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    ones = np.ones(2, np.float32)
    huge = ChannelFactors(np.full(2, 1e6, np.float32), ones, ones)
    with pytest.raises(ModelError, match=r"two.weight is too large for float16"):
        scale_channels(model, find_layers(model), {"two": huge})
