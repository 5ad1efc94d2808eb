"""Export one network: ONNX, seams measured, accuracy measured, gate passed; only then a file."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from restora.artifact import Artifact, ArtifactInfo, Io, artifact_from_bytes, check_accuracy
from restora.sessions.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.version import __version__
from restora_export.onnx_file import onnx_bytes, onnx_from_network
from restora_export.seams import SEAM_GATE_DB, SeamError, choose_overlap
from restora_export.verify import measure_accuracy

logger = logging.getLogger(__name__)

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Export:
    """A finished artefact and how its seams came out."""

    artifact: Artifact
    seams: SeamError


def export_network(
    network: nn.Module,
    *,
    model: str,
    architecture: str,
    weights_sha256: str,
    scale: int,
    size_multiple: int,
    io: Io = "uint8",
    report: Report = logger.info,
) -> Export:
    """Turn a PyTorch network into a checked artefact.

    network         eval mode; (batch, 3, height, width) RGB in 0..1 to the same, `scale` times
                    larger
    model           the name that the artefact carries
    weights_sha256  of the checkpoint file
    report          told about each step

    Raises AccuracyGateError, with the figures, if the artefact is further from the network than
    its gate allows, and ModelError if the network cannot be exported.
    """
    report(f"exporting {model} ({architecture}) to ONNX, {io} pictures")
    proto = onnx_from_network(network, scale=scale, multiple=size_multiple, io=io)
    info = ArtifactInfo(
        model=model,
        kind="upsampler",
        architecture=architecture,
        scale=scale,
        precision="fp32",
        io=io,
        size_multiple=size_multiple,
        overlap_px=0,
        weights_sha256=weights_sha256,
        exporter=f"restora {__version__}, torch {torch.__version__}",
    )
    session = OnnxRuntimeCpuSession(artifact_from_bytes(onnx_bytes(proto, info), name=model))
    try:
        report("comparing it with PyTorch")
        accuracy = measure_accuracy(session, network)
        check_accuracy(info, accuracy)
        report("measuring seams")
        seams = choose_overlap(session)
    finally:
        session.close()
    if seams.psnr < SEAM_GATE_DB:
        logger.warning(
            "%s: seams are %.1f dB with an overlap of %d, under %.0f dB: restore with larger tiles",
            model,
            seams.psnr,
            seams.overlap_px,
            SEAM_GATE_DB,
        )
    info = replace(info, overlap_px=seams.overlap_px, accuracy=accuracy)
    return Export(artifact_from_bytes(onnx_bytes(proto, info), name=model), seams)
