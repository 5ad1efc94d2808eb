"""Options of a build, and whether a TensorRT can build an artifact with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from restora.artifact import ArtifactInfo, Precision
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.module import Features
from restora.errors import OptionError

# need the FP16 flag if the builder has it
FLAGGED: tuple[Precision, ...] = ("fp16", "mixed", "int8_fp16")
QUANTIZED: tuple[Precision, ...] = ("int8", "int8_fp16", "fp8")
Compatibility = Literal["none", "ampere_plus", "same_capability"]
WORKSPACE_BYTES = 4 << 30
FP8_CAPABILITY = (8, 9)  # Ada; Hopper is 9.0, Blackwell 10.0 and 12.0


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of a build. Every field is part of the key of the plan.

    precision: compute precision. "fp16" and "mixed" need an artifact of that precision if the types
        come from the graph (TensorRT 10, 11), and an FP32 artifact if precision is a flag (8.6);
        "int8_fp16" is then built from the INT8 artifact
    workspace_bytes: limit of scratch memory for one layer, in bytes
    opt_level: optimization level of the builder, 0 (fast build) to 5 (fast engine)
    version_compatible: make a plan that later TensorRT versions can load
    hardware: which other GPUs can run the plan
    strip_weights: leave the weights out of the plan; they are refitted from the artifact on loading
    tf32: allow TF32 in FP32 layers, which is faster but misses the FP32 accuracy threshold
    """

    precision: Precision = "fp32"
    workspace_bytes: int = WORKSPACE_BYTES
    opt_level: int = 3
    version_compatible: bool = False
    hardware: Compatibility = "none"
    strip_weights: bool = False
    tf32: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.opt_level <= 5:
            raise OptionError(f"the optimization level must be in 0..5, got {self.opt_level}")
        if self.workspace_bytes < 1 << 20:
            raise OptionError(f"the workspace must be at least 1 MiB, got {self.workspace_bytes}")


def source_precision(precision: Precision, features: Features) -> Precision:
    """The precision of the artifact that plans of `precision` are built from."""
    if features.strongly_typed:
        return precision
    if precision == "int8_fp16":
        return "int8"
    return "fp32" if precision in FLAGGED else precision


def check_format(options: BuildOptions, features: Features) -> None:
    """Raise OptionError unless this TensorRT reads artifacts of the precision."""
    if options.precision == "fp8" and not features.fp8:
        raise OptionError(f"TensorRT {features.version} cannot read FP8 artifacts, 10 and 11 can")


def check_precision(info: ArtifactInfo, options: BuildOptions, features: Features) -> None:
    """Raise OptionError unless this TensorRT can build this artifact with these options.

    Without this check, FP16 could silently become FP32, which is several times slower.
    """
    precision = options.precision
    check_format(options, features)
    needed = source_precision(precision, features)
    if info.precision != needed:
        typed = features.strongly_typed
        reason = "takes types from the graph" if typed else "has no typed networks"
        raise OptionError(
            f"TensorRT {features.version} {reason}: {precision} is built from the {needed} "
            f"artifact, {info.model}'s is {info.precision}: {how_to_make(needed)}"
        )
    missing = [
        words
        for wanted, present, words in (
            (options.strip_weights, features.strip, "plans without weights"),
            (options.version_compatible, features.version_compatible, "version compatibility"),
            (
                options.hardware == "same_capability",
                features.same_capability,
                "compatibility within one compute capability",
            ),
        )
        if wanted and not present
    ]
    if missing:
        raise OptionError(f"TensorRT {features.version} has no {' and no '.join(missing)}")


def how_to_make(precision: Precision) -> str:
    """The command that makes an artifact of this precision."""
    if precision == "int8":
        return "make one with `restora calibrate`"
    if precision == "int8_fp16":
        return "make one with `restora calibrate`, with the fp16 artifact beside the fp32 one"
    if precision == "fp8":
        return "make one with `restora calibrate --format fp8`, with the fp16 artifact beside it"
    return f"make one with `restora export --precision {precision}`"


def check_capability(options: BuildOptions, device: DeviceFacts) -> None:
    """Raise OptionError if the GPU has no arithmetic for the precision."""
    capability = tuple(int(part) for part in device.capability.split("."))
    if options.precision == "fp8" and capability < FP8_CAPABILITY:
        needed = ".".join(map(str, FP8_CAPABILITY))
        raise OptionError(
            f"FP8 needs a GPU of compute capability {needed} (Ada, Hopper, Blackwell), "
            f"{device.name} has {device.capability}"
        )
