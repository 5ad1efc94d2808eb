"""Facts about the rounding of INT8 artifacts in OpenVINO."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from restora.backends.openvino_rounding import drop_repeats


def rounded(value: Any, magnitude: float, levels: int = 256) -> Any:
    limits = (-magnitude, magnitude)
    return opset13.fake_quantize(value, *limits, *limits, levels)


def enlarged(value: Any, mode: str) -> Any:
    scales, axes = np.array([2.0, 2.0], np.float32), np.array([2, 3])
    return opset13.interpolate(
        value, scales, mode, "scales", axes=axes, coordinate_transformation_mode="asymmetric"
    )


def drop(made: Any, *inputs: Any) -> tuple[int, int]:
    """The number of operations that were dropped, and that of those which still round."""
    model = openvino.Model([made], list(inputs), "rounding")
    before = sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    values = [np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)] * len(inputs)
    exact = openvino.compile_model(model, "CPU")(values)[0]
    dropped = drop_repeats(model)
    assert np.array_equal(openvino.compile_model(model, "CPU")(values)[0], exact)
    after = sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    assert after == before - dropped
    return dropped, after


@pytest.fixture
def inputs() -> tuple[Any, Any]:
    return opset13.parameter([1, 2, 4, 4]), opset13.parameter([1, 2, 4, 4])


def test_what_is_rounded_alike_is_not_rounded_again_behind_its_concatenation(
    inputs: tuple[Any, Any],
) -> None:
    one, two = (rounded(value, 2.0) for value in inputs)
    wide = rounded(enlarged(opset13.concat([one, two], 1), "nearest"), 2.0)
    assert drop(wide, *inputs) == (1, 2)


@pytest.mark.parametrize("magnitude", [1.0, 4.0])
def test_other_steps_behind_a_concatenation_stay(inputs: tuple[Any, Any], magnitude: float) -> None:
    one, two = (rounded(value, 2.0) for value in inputs)
    assert drop(rounded(opset13.concat([one, two], 1), magnitude), *inputs) == (0, 3)


def test_a_concatenation_with_an_exact_part_is_still_rounded(inputs: tuple[Any, Any]) -> None:
    joined = opset13.concat([rounded(inputs[0], 2.0), inputs[1]], 1)
    assert drop(rounded(joined, 2.0), *inputs) == (0, 2)


def test_what_interpolation_mixes_is_rounded_again(inputs: tuple[Any, Any]) -> None:
    mixed = enlarged(rounded(inputs[0], 2.0), "linear_onnx")
    assert drop(rounded(mixed, 2.0), inputs[0]) == (0, 2)


def test_rounding_twice_without_a_concatenation_is_not_touched(inputs: tuple[Any, Any]) -> None:
    assert drop(rounded(rounded(inputs[0], 2.0), 2.0), inputs[0]) == (0, 2)
