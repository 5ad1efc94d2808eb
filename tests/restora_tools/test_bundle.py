"""Facts about putting a trained network into the package."""

import math
from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import open_on_cpu
from recipe import fill_network
from restora.artifact import read_artifact
from restora.errors import CheckpointError
from restora.models import find_artifact
from restora_export.architecture import Hints
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.files import export_file
from restora_export.reference import DamageDetector, SRVGGNetCompact
from restora_export.verify import measure_accuracy
from restora_tools.bundle import bundle
from restora_training.damage.fold import round_weights


def test_a_bundled_model_has_one_set_of_weights_in_all_its_files(tmp_path: Path) -> None:
    network = fill_network(SRVGGNetCompact(features=16, convs=2, scale=2), 3, "srvgg")
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    checkpoint, *artifacts = bundle(
        "small-x2", tmp_path / "network.safetensors", weights=tmp_path, data=tmp_path / "data"
    )
    for key, value in load_file(checkpoint).items():
        assert torch.equal(value, network.state_dict()[key].half())
    infos = [read_artifact(path).info for path in artifacts]
    assert [(info.io, info.precision) for info in infos] == [
        ("uint8", "fp32"),
        ("float32", "fp32"),
        ("uint8", "fp16"),
    ]
    assert {info.weights_sha256 for info in infos} == {load_checkpoint(checkpoint).sha256}
    assert {info.license for info in infos} == {"Apache-2.0"}
    assert {info.model for info in infos} == {"small-x2"}


def test_weights_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    save_file({"body.0.weight": torch.tensor([7e4])}, tmp_path / "network.safetensors")
    with pytest.raises(ValueError, match="must be finite in float16"):
        bundle("large", tmp_path / "network.safetensors", weights=tmp_path, data=tmp_path)
    assert not (tmp_path / "large.safetensors").exists()


def test_a_small_bundle_is_one_artifact_from_which_others_are_exported(tmp_path: Path) -> None:
    network = fill_network(SRVGGNetCompact(features=16, convs=2, scale=2), 3, "srvgg")
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    (artifact,) = bundle(
        "small-x2", tmp_path / "network.safetensors", small=True, data=tmp_path / "data"
    )
    assert list((tmp_path / "data").iterdir()) == [artifact]
    loaded = load_checkpoint(artifact)
    assert loaded.sha256 == load_checkpoint(tmp_path / "small-x2.safetensors").sha256
    assert loaded.sha256 == read_artifact(artifact).info.weights_sha256
    assert set(loaded.state) == set(network.state_dict())
    for key, value in loaded.state.items():
        assert torch.equal(value, network.state_dict()[key].half().float())


def test_an_artifact_and_its_checkpoint_give_the_same_other_artifacts(tmp_path: Path) -> None:
    network = fill_network(SRVGGNetCompact(features=16, convs=2, scale=2), 3, "srvgg")
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    (artifact,) = bundle("small-x2", tmp_path / "network.safetensors", small=True, data=tmp_path)
    made = [
        export_file(
            source, tmp_path / f"{number}.onnx", name="small-x2", io="float32", license_name="MIT"
        )
        for number, source in enumerate((artifact, tmp_path / "small-x2.safetensors"))
    ]
    assert made[0].artifact.onnx == made[1].artifact.onnx


def test_the_folded_weights_of_a_detector_are_stored_in_half_the_space(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = DamageDetector((16, 16, 16, 16))
    network.stem.norm.num_batches_tracked.fill_(70_000)  # more than float16 holds
    save_file(round_weights(network.state_dict()), tmp_path / "network.safetensors")
    (artifact,) = bundle("finder", tmp_path / "network.safetensors", small=True, data=tmp_path)
    values = sum(value.numel() for value in network.state_dict().values())
    weights = [v for v in onnx.load(artifact).graph.initializer if v.data_type == v.FLOAT16]
    assert sum(math.prod(v.dims) for v in weights) > 0.9 * values


def test_the_weights_of_restora_fast_x4_are_read_whole_from_its_artifact() -> None:
    artifact = find_artifact("restora-fast-x4", "uint8")
    network = network_from_checkpoint(load_checkpoint(artifact))
    assert measure_accuracy(open_on_cpu(artifact), network).psnr_min > 70


def test_an_artifact_of_another_activation_is_refused(tmp_path: Path) -> None:
    network = SRVGGNetCompact(features=16, convs=2, scale=2, activation="leakyrelu")
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    artifact = tmp_path / "leaky.onnx"
    export_file(tmp_path / "network.safetensors", artifact, hints=Hints(activation="leakyrelu"))
    with pytest.raises(CheckpointError, match="give the checkpoint"):
        load_checkpoint(artifact)


def test_an_artifact_whose_weights_are_folded_is_not_a_checkpoint() -> None:
    with pytest.raises(CheckpointError, match=r"only fp32 artifacts of SRVGGNetCompact"):
        load_checkpoint(find_artifact("restora-lite-x2", "uint8"))
