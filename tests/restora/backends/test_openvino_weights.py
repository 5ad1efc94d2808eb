"""Facts about weights in bfloat16 whose errors cancel out within a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from restora.backends.openvino_core import get_core
from restora.backends.openvino_weights import diffuse_rounding, round_kernels, round_to_bf16

STEP = 2.0**-7  # of bfloat16 between 1 and 2


def kernels(*shape: int) -> Any:
    return np.random.default_rng(0).normal(0, 0.05, shape).astype(np.float32)


def test_values_are_rounded_to_the_nearest_and_halves_to_even() -> None:
    step = 2 * STEP  # between 2 and 4
    given = np.array([2 + 0.4 * step, 2 + 0.6 * step, 2 + 0.5 * step, 2 + 1.5 * step], np.float32)
    assert (round_to_bf16(given) == [2, 2 + step, 2, 2 + 2 * step]).all()
    assert (round_to_bf16(-given) == [-2, -2 - step, -2, -2 - 2 * step]).all()


def test_each_weight_is_a_close_value_of_bfloat16() -> None:
    weights = kernels(8, 4, 3, 3)
    rounded = round_kernels(weights)
    assert rounded.shape == weights.shape
    assert (round_to_bf16(rounded) == rounded).all()
    # half a step for its own error, and half one of the weight before
    assert np.abs(rounded - weights).max() < STEP * np.abs(weights).max()


def test_the_sum_of_each_kernel_hardly_changes() -> None:
    weights = kernels(16, 8, 3, 3)

    def errors(rounded: Any) -> Any:
        return np.abs((rounded.astype(np.float64) - weights).sum((2, 3)))

    nearest, diffused = errors(round_to_bf16(weights)), errors(round_kernels(weights))
    assert diffused.mean() < nearest.mean() / 8
    assert diffused.max() < nearest.max() / 4


def test_a_kernel_of_one_weight_is_rounded_to_the_nearest() -> None:
    weights = kernels(4, 4, 1, 1)
    assert (round_kernels(weights) == round_to_bf16(weights)).all()


@pytest.mark.parametrize("stored", ["f32", "f16"])
def test_a_flat_picture_keeps_its_level(stored: str) -> None:
    weights = np.abs(kernels(3, 3, 3, 3)).astype(np.float16).astype(np.float32)
    flat = np.full((1, 3, 8, 8), 0.7, np.float32)
    exact = _run(_model(weights, stored), flat)
    nearest = _run(_model(round_to_bf16(weights), "f32"), flat)
    model = _model(weights, stored)
    assert diffuse_rounding(model) == 1
    diffused = _run(model, flat)
    inside = (..., slice(1, -1), slice(1, -1))
    assert np.abs(diffused - exact)[inside].max() < np.abs(nearest - exact)[inside].max() / 5
    assert np.abs(diffused - exact)[inside].max() > 0


def test_the_factor_of_the_input_is_taken_into_account() -> None:
    """OpenVINO multiplies the weights by it, and would round them again."""
    weights, factor = kernels(3, 3, 3, 3), np.float32(1 / 255)
    picture = opset13.parameter([1, 3, 8, 8], np.float32, name="picture")
    scaled = opset13.multiply(picture, opset13.constant(factor))
    made = opset13.convolution(scaled, opset13.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1])
    model = openvino.Model([made], [picture])
    assert diffuse_rounding(model) == 1
    convolution = model.get_results()[0].input_value(0).get_node()
    given = convolution.input_value(1).get_node().get_data() * factor
    assert np.allclose(given, round_kernels(weights * factor), rtol=1e-6, atol=0)


def test_weights_that_are_computed_are_left_alone() -> None:
    picture = opset13.parameter([1, 3, 8, 8], np.float32, name="picture")
    weights = opset13.parameter([3, 3, 3, 3], np.float32, name="weights")
    made = opset13.convolution(picture, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    assert diffuse_rounding(openvino.Model([made], [picture, weights])) == 0


def _model(weights: Any, stored: str) -> openvino.Model:
    picture = opset13.parameter([1, 3, 8, 8], np.float32, name="picture")
    constant = opset13.constant(weights.astype({"f32": np.float32, "f16": np.float16}[stored]))
    if stored == "f16":
        constant = opset13.convert(constant, "f32")
    made = opset13.convolution(picture, constant, [1, 1], [1, 1], [1, 1], [1, 1])
    return openvino.Model([made], [picture])


def _run(model: openvino.Model, picture: Any) -> Any:
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = get_core().compile_model(model, "CPU", settings).create_infer_request()
    return np.array(next(iter(request.infer([picture]).values())))
