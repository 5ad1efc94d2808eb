"""Facts about weights that are rounded with the inputs that they meet."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from dense_network import load_dense_network
from restora_calibration.int8 import rounding, runner
from restora_calibration.int8.equalize import Equalization
from restora_calibration.int8.formats import INT8, quantize_weight
from restora_calibration.int8.layers import find_layers, inner_layers
from restora_calibration.int8.rounding import round_layers, round_weight
from restora_calibration.int8.runner import open_runner
from restora_calibration.int8.statistics import iter_values, open_graph
from restora_calibration.int8.trial import run_graph
from restora_export.photo_tiles import load_photo_tiles

Tiles = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return load_dense_network()


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    return load_photo_tiles()[:4, :40, :48].copy()


def test_the_error_of_rounded_weights_cancels_on_correlated_inputs() -> None:
    random = np.random.default_rng(0)
    common = random.normal(size=(1, 4000))
    inputs = (common + 0.1 * random.normal(size=(18, 4000))).astype(np.float32)
    weight = random.normal(size=(8, 2, 3, 3)).astype(np.float32)
    plain, scale = quantize_weight(weight)
    values = round_weight(weight, inputs @ inputs.T)
    assert values.dtype == np.int8
    assert np.abs(values.astype(int)).max() <= INT8.largest

    def error(rounded: NDArray[np.int8]) -> float:
        off = rounded * scale.reshape(-1, 1, 1, 1) - weight
        return float(np.square(off.reshape(8, -1) @ inputs).mean())

    assert error(values) < error(plain) / 4


def test_without_correlation_weights_are_rounded_to_the_nearest_step() -> None:
    weight = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    plain, _ = quantize_weight(weight)
    assert np.array_equal(round_weight(weight, np.eye(27, dtype=np.float32)), plain)
    assert np.array_equal(round_weight(weight, np.zeros((27, 27), np.float32)), plain)


def test_a_layer_is_rounded_with_its_own_inputs(
    model: onnx.ModelProto, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the dense block, too, which are computed for the widest layer alone."""
    seen: dict[str, NDArray[np.float32]] = {}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    by_shape = {}

    def note(weight: NDArray[np.float32], covariance: NDArray[np.float32]) -> NDArray[np.int8]:
        (name,) = (layer.name for layer in layers if np.array_equal(weights[layer.weight], weight))
        seen[name] = covariance
        return quantize_weight(weight)[0]

    layers = inner_layers(find_layers(model))
    monkeypatch.setattr(rounding, "round_weight", note)
    monkeypatch.setattr(rounding, "_SAMPLES", 40 * 48 * 4)  # every position
    rounded = round_layers(model, layers, tiles, Equalization())
    assert set(rounded) == set(seen) == {layer.name for layer in layers}
    by_shape = {layer.name: layer for layer in layers}
    for name in ("body.0.blocks.1.conv2", "body.0.blocks.1.conv5", "conv_up1", "conv_hr"):
        layer = by_shape[name]
        powers = sum(
            np.square(values[0].astype(np.float64)).sum((1, 2))
            for _, values in iter_values(model, [layer.input], tiles)
        )
        # the middle of the kernel meets every pixel
        middle = np.diag(seen[name]).reshape(-1, 9)[:, 4]
        assert middle == pytest.approx(powers, rel=1e-3)
        assert len(seen[name]) == weights[layer.weight][0].size


@pytest.mark.slow
def test_little_memory_gives_the_same_weights(
    model: onnx.ModelProto, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = inner_layers(find_layers(model))
    monkeypatch.setattr(rounding, "_SAMPLES", 40 * 48 * 4)
    expected = round_layers(model, layers, tiles, Equalization())
    monkeypatch.setattr(rounding, "_MEMORY", 1)
    found = round_layers(model, layers, tiles, Equalization())
    assert set(found) == set(expected)
    same = [np.mean(found[name] == expected[name]) for name in found]
    assert np.mean(same) > 0.99  # sums in another order


def test_a_large_graph_is_measured_with_openvino_and_gives_the_same(
    model: onnx.ModelProto, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    exact = run_graph(open_graph(model), tiles).astype(int)
    monkeypatch.setattr(runner, "open_graph", None)
    with pytest.raises(TypeError):
        open_runner(model)
    monkeypatch.setattr(runner, "_LARGE", 0)
    assert np.abs(open_runner(model)(tiles) - exact).max() <= 1
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "restora.backends.openvino_core")
    with pytest.raises(TypeError):
        open_runner(model)
