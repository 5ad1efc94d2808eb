"""Export a network to ONNX, and measure its seams and its accuracy."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from restora.artifact import (
    Artifact,
    ArtifactInfo,
    Io,
    Precision,
    artifact_from_bytes,
    check_accuracy,
)
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.errors import OptionError
from restora.version import __version__
from restora_export.facts import NetworkFacts, facts_of
from restora_export.onnx_file import onnx_bytes, onnx_from_network
from restora_export.seams import SEAM_TARGET_DB, SeamError, choose_overlap
from restora_export.tensor_sizes import measure_elements_per_pixel
from restora_export.verify import make_selfcheck, measure_accuracy

logger = logging.getLogger(__name__)

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Export:
    """The result of an export.

    seams: the error at the seams of tiles, for an upsampler
    path: the file that was written, if any
    """

    artifact: Artifact
    seams: SeamError | None
    path: Path | None = None

    def describe(self) -> str:
        """Describe the accuracy in one line."""
        info = self.artifact.info
        figures = info.accuracy
        assert figures is not None
        parts = [f"max error {figures.max_error:.2g} of range"]
        if info.kind not in ("detector", "parser"):
            parts.append(f"PSNR {figures.psnr_mean:.1f} dB mean, {figures.psnr_min:.1f} min")
        if info.kind not in ("face", "detector", "parser"):
            parts.append(f"tiles overlap {info.overlap_px} px")
        return "; ".join(parts)


def export_network(
    network: nn.Module,
    *,
    model: str,
    architecture: str,
    weights_sha256: str,
    io: Io = "uint8",
    precision: Precision = "fp32",
    noise: float = 1.0,
    license_name: str = "",
    overlap_px: int | None = None,
    report: Report = logger.info,
) -> Export:
    """Export a reference network to an artifact and verify it.

    network: a network of restora_export.reference, in eval mode
    model: name of the model in the metadata
    architecture: description of the network in the metadata
    weights_sha256: SHA-256 of the checkpoint file
    io: "uint8" or "float32", the dtype of input and output
    precision: "fp32", "fp16" or "mixed"
    noise: for a face network, the factor of its stored noise, 0..1
    license_name: license of the weights in the metadata, as an SPDX name
    overlap_px: overlap of tiles for these weights, if it was measured before; None measures it
    report: called with a description of each step

    Raises AccuracyGateError, with the figures, if the artifact misses its accuracy gate, and
    ModelError if the network cannot be exported.
    """
    facts = facts_of(network)
    overlap_px = facts.overlap_px if overlap_px is None else overlap_px
    _check_choice(facts, io, precision, noise)
    report(f"exporting {model} ({architecture}) to ONNX, {precision}, {io} images")
    proto = onnx_from_network(network, io=io, precision=precision, noise=noise)
    info = ArtifactInfo(
        model=model,
        kind=facts.kind,
        architecture=architecture,
        scale=facts.scale,
        precision=precision,
        io=io,
        size_multiple=facts.size_multiple,
        overlap_px=overlap_px or 0,
        weights_sha256=weights_sha256,
        exporter=f"restora {__version__}, torch {torch.__version__}",
        side=facts.side,
        noise=noise,
        license=license_name,
        elements_per_pixel=measure_elements_per_pixel(proto, facts),
    )
    session = OnnxRuntimeCpuSession(artifact_from_bytes(onnx_bytes(proto, info), name=model))
    seams = None
    try:
        report("comparing it with PyTorch")
        accuracy = measure_accuracy(session, network, noise=noise)
        check_accuracy(info, accuracy)
        if facts.kind == "upsampler" and overlap_px is None:
            report("measuring seams")
            seams = choose_overlap(session)
    finally:
        session.close()
    if seams is not None:
        warn_of_seams(model, seams)
        info = replace(info, overlap_px=seams.overlap_px)
    info = replace(info, accuracy=accuracy)
    selfcheck = make_selfcheck(network, io, noise=noise)
    return Export(artifact_from_bytes(onnx_bytes(proto, info, selfcheck), name=model), seams)


def _check_choice(facts: NetworkFacts, io: Io, precision: Precision, noise: float) -> None:
    if precision not in ("fp32", "fp16", "mixed"):
        raise OptionError(f"precision must be fp32, fp16 or mixed, got {precision!r}")
    if facts.kind in ("detector", "parser") and (io, precision) != ("uint8", "fp32"):
        raise OptionError(
            f"a {facts.kind} is exported for uint8 images in fp32 only, got {io}, {precision}"
        )
    if facts.kind in ("damage-detector", "repairer") and (io, precision) not in (
        ("uint8", "fp32"),
        ("uint8", "fp16"),
    ):
        raise OptionError(
            f"a {facts.kind} is exported for uint8 images in fp32 or fp16 only, got {io}, "
            f"{precision}"
        )
    if not 0 <= noise <= 1:
        raise OptionError(f"noise must be in 0..1, got {noise}")


def warn_of_seams(model: str, seams: SeamError) -> None:
    """Warn if no overlap is enough; else the measured one becomes the default."""
    if seams.psnr < SEAM_TARGET_DB:
        logger.warning(
            "%s: with the largest overlap, %d pixels, seams of tiles reach %.1f dB, below %.0f dB: "
            "this network looks further than that. `restora restore --tile 0` restores a photo as "
            "a whole, without seams, if memory suffices",
            model,
            seams.overlap_px,
            seams.psnr,
            SEAM_TARGET_DB,
        )
