"""Accuracy gates: how far an artifact may be from its PyTorch reference."""

from dataclasses import dataclass, replace

from restora.artifact.info import Accuracy, ArtifactInfo, Io, Precision
from restora.errors import AccuracyGateError


@dataclass(frozen=True, slots=True)
class AccuracyGate:
    """Bounds on the figures of Accuracy. A bound of None does not apply."""

    max_error: float | None = None
    psnr_mean: float | None = None
    psnr_min: float | None = None


# the worst tile counts too: a mean hides the one kind of content that 8 bits ruin
EIGHT_BIT_GATE = AccuracyGate(psnr_mean=40, psnr_min=35)
ACCURACY_GATES: dict[tuple[Precision, Io], AccuracyGate] = {
    # one gray level, since values near .5 may round either way
    ("fp32", "uint8"): AccuracyGate(max_error=1.001 / 255),
    ("fp32", "float32"): AccuracyGate(max_error=1e-5),
    ("fp16", "uint8"): AccuracyGate(psnr_mean=50, psnr_min=45),
    ("fp16", "float32"): AccuracyGate(psnr_mean=50, psnr_min=45),
    ("mixed", "uint8"): AccuracyGate(psnr_mean=50, psnr_min=45),
    ("mixed", "float32"): AccuracyGate(psnr_mean=50, psnr_min=45),
    ("int8", "uint8"): EIGHT_BIT_GATE,
    ("int8", "float32"): EIGHT_BIT_GATE,
    ("int8_fp16", "uint8"): EIGHT_BIT_GATE,
    ("int8_fp16", "float32"): EIGHT_BIT_GATE,
    ("fp8", "uint8"): EIGHT_BIT_GATE,
    ("fp8", "float32"): EIGHT_BIT_GATE,
}


# box and landmark offsets are about 1, probabilities at most 1
DETECTOR_GATE = AccuracyGate(max_error=1e-4)
# share of pixels: rounding decides between two labels with almost the same score
PARSER_GATE = AccuracyGate(max_error=0.002)
# below FP32, of probabilities of damage: 40 dB is a hundredth, and one threshold decides
MASK_GATE = AccuracyGate(psnr_mean=40, psnr_min=35)


def find_gate(info: ArtifactInfo) -> AccuracyGate:
    if info.kind == "detector":
        return DETECTOR_GATE
    if info.kind == "parser":
        return PARSER_GATE
    if info.kind == "damage-detector" and info.precision != "fp32":
        return MASK_GATE
    return ACCURACY_GATES[info.precision, info.io]


def find_session_gate(info: ArtifactInfo, precision: Precision) -> AccuracyGate:
    """For a session that computes in `precision`, whatever that of the artifact is."""
    if info.kind == "damage-detector" and precision != "fp32":
        return MASK_GATE
    return ACCURACY_GATES[precision, info.io]


def check_accuracy(info: ArtifactInfo, accuracy: Accuracy | None = None) -> None:
    """Raise AccuracyGateError, with the figures, unless the artifact passes its gate.

    accuracy: the figures to check; by default those in the metadata of the artifact
    """
    accuracy = info.accuracy if accuracy is None else accuracy
    name = f"{info.model} ({info.precision}, {info.io})"
    if accuracy is None:
        raise AccuracyGateError(
            f"{name} has no accuracy figures: export it again, or measure it with `restora verify`"
        )
    gate = find_gate(info)
    if info.quantization is not None:
        # the metadata can only raise the gate
        asked = max(gate.psnr_mean or 0.0, info.quantization.min_psnr)
        gate = replace(gate, psnr_mean=asked)
    failed = []
    if accuracy.nonfinite:
        failed.append(f"{accuracy.nonfinite} output values are NaN or Inf")
    # written so that NaN fails
    if gate.max_error is not None and not accuracy.max_error <= gate.max_error:
        failed.append(f"max error {accuracy.max_error:.3g} of range, allowed {gate.max_error:.3g}")
    if gate.psnr_mean is not None and not accuracy.psnr_mean >= gate.psnr_mean:
        failed.append(f"mean PSNR {accuracy.psnr_mean:.1f} dB, needed {gate.psnr_mean:.1f}")
    if gate.psnr_min is not None and not accuracy.psnr_min >= gate.psnr_min:
        failed.append(f"worst PSNR {accuracy.psnr_min:.1f} dB, needed {gate.psnr_min:.1f}")
    if failed:
        raise AccuracyGateError(
            f"{name} fails its accuracy gate against {accuracy.reference}: {'; '.join(failed)}"
        )
