"""Facts about the two 8-bit formats."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from restora.errors import ModelError
from restora_calibration.int8.formats import FP8, INT8, Format, quantize_weight


def random_weight(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.01, 1, (8, 1, 1, 1))
    return (rng.normal(size=(8, 4, 3, 3)) * spread).astype(np.float32)


@pytest.mark.parametrize("form", [INT8, FP8])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_largest_weight_is_the_largest_value(form: Format, dtype: type) -> None:
    weight = random_weight()
    values, scale = quantize_weight(weight, form, dtype)
    assert scale.dtype == dtype
    assert scale.shape == ((8,) if form.per_channel else ())
    got = values.astype(np.float32) * scale.astype(np.float32).reshape(-1, 1, 1, 1)
    step = scale.astype(np.float32).max()
    # an INT8 step is the same everywhere, one of FP8 is at most 1/8 of the value
    error = np.abs(got - weight)
    assert (error <= (step / 2 * 1.01 if form is INT8 else np.abs(weight) / 15 + step)).all()
    assert form.largest * 0.99 <= np.abs(values.astype(np.float32)).max() <= form.largest


@pytest.mark.parametrize("form", [INT8, FP8])
def test_scales_in_fp16_clip_nothing(form: Format) -> None:
    magnitudes = np.geomspace(1e-9, 60000, 400, dtype=np.float32)
    scale = form.scale_of(magnitudes, np.float16).astype(np.float64)
    assert (scale * form.largest >= magnitudes * (1 - 1e-6)).all()
    normal = magnitudes / form.largest > 2**-14
    assert (scale[normal] * form.largest <= magnitudes[normal] * (1 + 2**-9)).all()


def test_a_channel_of_zeros_has_a_scale() -> None:
    """TensorRT takes positive scales only."""
    assert INT8.scale_of(np.zeros(2)).tolist() == [1, 1]
    values, scale = quantize_weight(np.zeros((2, 1, 3, 3), np.float32), FP8, np.float16)
    assert scale == 1
    assert not values.astype(np.float32).any()


def test_a_range_beyond_fp16_is_an_error() -> None:
    with pytest.raises(ModelError, match="too large for FP16"):
        INT8.scale_of(1e9, np.float16)


def test_fp8_saturates_instead_of_becoming_nan() -> None:
    values = np.array([1e4, -1e4, 448, 460, 17, 18.1, 2**-9, 2**-11], np.float32)
    got = FP8.round(values).astype(np.float32)
    assert got.tolist() == [448, -448, 448, 448, 16, 18, 2**-9, 0]
    assert FP8.dtype == ml_dtypes.float8_e4m3fn
