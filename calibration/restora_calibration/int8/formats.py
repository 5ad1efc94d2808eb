"""The 8-bit formats: symmetric INT8, and FP8 with 4 bits of exponent and 3 of mantissa (E4M3).

FP8: Micikevicius et al., FP8 Formats for Deep Learning, arXiv:2209.05433.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from restora.errors import ModelError

FormatName = Literal["int8", "fp8"]
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Format:
    """A format of weights and activations, with scales and without zero points.

    largest: the largest magnitude that is used, before the scale
    per_channel: weights have a scale for each output channel, otherwise one for all; TensorRT takes
        FP8 weights with one scale
    dtype: the NumPy type
    """

    name: FormatName
    largest: float
    per_channel: bool
    dtype: Any

    def round(self, values: Array) -> NDArray[Any]:
        """Round to the format; values beyond `largest` are clipped."""
        clipped = np.clip(values, -self.largest, self.largest)
        return (np.rint(clipped) if self.name == "int8" else clipped).astype(self.dtype)

    def scale_of(self, magnitude: Array | float, dtype: Any = np.float32) -> NDArray[Any]:
        """The scales with which `largest` stands for these magnitudes; 1 for a magnitude of 0.

        dtype: np.float32 or np.float16. FP16 scales are rounded up, so that no value is clipped.
        """
        wanted = np.asarray(magnitude, np.float32) / np.float32(self.largest)
        wanted = np.where(wanted > 0, wanted, np.float32(1))
        if wanted.max() > np.finfo(dtype).max:
            raise ModelError(f"a value range of {np.max(magnitude):g} is too large for FP16")
        scale = wanted.astype(dtype)
        if dtype == np.float16:
            scale = np.where(scale < wanted, np.nextafter(scale, np.float16(np.inf)), scale)
        return np.asarray(scale)


INT8 = Format("int8", 127, per_channel=True, dtype=np.int8)  # -128 is not used
FP8 = Format("fp8", 448, per_channel=False, dtype=ml_dtypes.float8_e4m3fn)
FORMATS: dict[FormatName, Format] = {"int8": INT8, "fp8": FP8}


def quantize_weight(
    weight: Array, form: Format = INT8, scale_dtype: Any = np.float32
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Quantize the weights of a convolution, (out, in, kh, kw): weight ~ values * scale.

    Returns the values and the scales, (out,) or, for a format with one scale, ().
    """
    magnitudes = np.abs(weight).reshape(len(weight), -1).max(1)
    if not form.per_channel:
        magnitudes = magnitudes.max()
    scale = form.scale_of(magnitudes, scale_dtype)
    spread = scale.astype(np.float32)
    if form.per_channel:
        spread = spread.reshape(-1, *[1] * (weight.ndim - 1))
    return form.round(weight / spread), scale
