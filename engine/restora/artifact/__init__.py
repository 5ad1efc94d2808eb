"""Artifacts: self-contained ONNX files whose metadata holds everything that the runtime needs."""

from restora.artifact.gates import (
    ACCURACY_GATES,
    EIGHT_BIT_GATE,
    AccuracyGate,
    check_accuracy,
    find_gate,
    find_session_gate,
)
from restora.artifact.info import Accuracy, ArtifactInfo, Io, Kind, Precision, Quantization
from restora.artifact.load import (
    Artifact,
    artifact_from_bytes,
    read_artifact,
    read_precision_variants,
)
from restora.artifact.selfcheck import SelfCheck, measure_psnr

__all__ = [
    "ACCURACY_GATES",
    "EIGHT_BIT_GATE",
    "Accuracy",
    "AccuracyGate",
    "Artifact",
    "ArtifactInfo",
    "Io",
    "Kind",
    "Precision",
    "Quantization",
    "SelfCheck",
    "artifact_from_bytes",
    "check_accuracy",
    "find_gate",
    "find_session_gate",
    "measure_psnr",
    "read_artifact",
    "read_precision_variants",
]
