"""Write the network of an artifact to the files of ncnn, for other programs."""

from __future__ import annotations

from pathlib import Path

from restora.artifact import Artifact
from restora.atomic import write_atomically
from restora.backends.ncnn.convert import network_from_artifact
from restora.backends.ncnn.layers import bin_parts, param_text
from restora.backends.ncnn.open import FP32_GATE
from restora.backends.ncnn.session import NcnnSession
from restora.backends.self_check import HALF_GATE, check_answer


def write_ncnn(artifact: Artifact, param: Path, *, half: bool = False) -> tuple[float, float]:
    """Write NAME.param and NAME.bin, if ncnn passes the self-check of the artifact with them.

    artifact: an upsampler in FP32
    param: path of NAME.param
    half: write the weights in FP16, for files of half the size

    The network maps the blob "data" to the blob "output", both RGB planes in 0..1, not clipped;
    these are the names that Real-ESRGAN-ncnn-vulkan and Upscayl use.

    Returns the mean and minimum PSNR of the self-check in dB. Raises MissingBackendError if ncnn is
    not installed or does not support the network, and AccuracyGateError with the measured PSNR.
    """
    session = NcnnSession(artifact, half_weights=half)
    try:
        figures = check_answer(session, artifact, gate=HALF_GATE if half else FP32_GATE)
    finally:
        session.close()
    layers = network_from_artifact(artifact).layers
    write_atomically(weights_path(param), bin_parts(layers, half=half))
    write_atomically(param, param_text(layers).encode())
    return figures


def weights_path(param: Path) -> Path:
    """The .bin file beside a .param file."""
    return param.with_suffix(".bin")
