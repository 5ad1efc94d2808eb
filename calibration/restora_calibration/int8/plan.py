"""Options of a calibration, and what 8 bits must reach."""

from __future__ import annotations

from dataclasses import dataclass

from restora.artifact import EIGHT_BIT_GATE
from restora.errors import OptionError
from restora_calibration.int8.formats import FORMATS, FormatName
from restora_calibration.int8.presets import Preset
from restora_calibration.int8.ranges import METHODS, Method
from restora_calibration.int8.trial import Distance

# dB; the runtime refuses artifacts below
LOWEST_GATE = EIGHT_BIT_GATE.psnr_mean or 0.0
LEAST_GATE = EIGHT_BIT_GATE.psnr_min or 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Options of the search.

    format: "int8", or "fp8" for GPUs of compute capability 8.9 and up
    methods: methods to find value ranges, all of which are tried; None is all of them for INT8, and
        "max" for FP8, whose steps grow with the values
    min_psnr: required mean PSNR against FP32 over the tiles to judge on, in dB; at least 40. Each
        tile must reach 35 dB.
    only: regular expression for names of layers; None uses all inner layers of an upsampler, or the
        encoder of the U-Net of a face network
    residuals: use 8 bits for the skip connections of dense blocks too, which is faster and less
        accurate
    preset: the layers that stay in FP32, as an earlier search found; if what they give is not
        accurate enough, the layers are searched again
    fine_tune: steps of fine-tuning the weights in INT8 on the tiles that ranges are found on
    """

    methods: tuple[Method, ...] | None = None
    min_psnr: float = LOWEST_GATE
    only: str | None = None
    residuals: bool = False
    format: FormatName = "int8"
    preset: Preset | None = None
    fine_tune: int = 0

    def __post_init__(self) -> None:
        methods = METHODS if self.methods is None else self.methods
        unknown = [method for method in methods if method not in METHODS]
        if unknown or not methods:
            raise OptionError(
                f"methods of finding ranges must be some of {', '.join(METHODS)}, got "
                f"{', '.join(unknown) or 'none'}"
            )
        if self.format not in FORMATS:
            raise OptionError(f"the format must be int8 or fp8, got {self.format!r}")
        if self.fine_tune < 0 or (self.fine_tune and self.format != "int8"):
            raise OptionError(
                "fine-tuning takes 0 steps or more, and none in FP8, got "
                f"{self.fine_tune} in {self.format}"
            )
        if not self.min_psnr >= LOWEST_GATE:
            raise OptionError(
                f"the gate can only be raised: 8 bits under {LOWEST_GATE:g} dB is refused when it "
                f"is loaded, got {self.min_psnr:g}"
            )

    @property
    def range_methods(self) -> tuple[Method, ...]:
        """The methods to try."""
        if self.methods is not None:
            return self.methods
        if self.preset is not None:
            return (self.preset.method,)
        return METHODS if self.format == "int8" else ("max",)

    def passes(self, distance: Distance) -> bool:
        """Whether mean and worst tile reach their thresholds; NaN fails."""
        return distance.mean >= self.min_psnr and distance.least >= LEAST_GATE

    def cost_of(self, distance: Distance) -> float:
        """The squared errors as shares of those that mean and worst tile may have."""
        return float(
            10 ** ((self.min_psnr - distance.mean) / 10)
            + 10 ** ((LEAST_GATE - distance.least) / 10)
        )
