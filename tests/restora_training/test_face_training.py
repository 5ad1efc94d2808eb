"""Fine-tuning a small face network with all losses, and restoring a face with the result."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import recipe
from restora import FaceOptions, Restorer
from restora_export.files import export_file, verify_file
from restora_training import make_recipe, train
from restora_training.extractors import ResNetArcFace, VGG19Features
from restora_training.ready import finetune_recipe
from training_vectors import make_training_state

SIDE = 64
ALL_LOSSES = {
    "pixel",
    "pyramid",
    "perceptual",
    "style",
    "adversarial",
    "adversarial_left_eye",
    "adversarial_right_eye",
    "adversarial_mouth",
    "component_style",
    "identity",
    "discriminator",
    "discriminator_left_eye",
    "discriminator_right_eye",
    "discriminator_mouth",
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    network = recipe.network_from_constructor(
        "GFPGANv1Clean",
        {
            "out_size": SIDE,
            "num_style_feat": 16,
            "channel_multiplier": 1,
            "num_mlp": 2,
            "input_is_latent": True,
            "different_w": True,
            "narrow": 0.0625,
            "sft_half": True,
        },
    )
    recipe.fill_network(network, 5, "gfpgan_clean")
    return save(network, tmp_path / "face.safetensors")


def save(network: torch.nn.Module, path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path


def save_recipe_weights(network: torch.nn.Module, family: str, path: Path) -> Path:
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.load_state_dict(make_training_state(shapes, 3, family))
    return save(network, path)


def write_faces(folder: Path) -> Path:
    """Made-up faces: two eyes, a nose and a mouth at their places."""
    folder.mkdir()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for index in range(6):
        rng = np.random.default_rng(index)
        face = np.full((SIDE, SIDE, 3), rng.integers(120, 220, 3), np.uint8)
        for x, y, wide, high in ((24, 30, 4, 3), (40, 30, 4, 3), (32, 37, 2, 4), (32, 46, 8, 3)):
            inside = ((columns - x) / wide) ** 2 + ((rows - y) / high) ** 2 < 1
            face[inside] = rng.integers(0, 120, 3)
        Image.fromarray(face).save(folder / f"{index}.png")
    return folder


@pytest.mark.slow
def test_a_face_network_is_finetuned_with_all_losses_stopped_exported_and_used(
    checkpoint: Path, tmp_path: Path
) -> None:
    faces = write_faces(tmp_path / "faces")
    vgg19 = save_recipe_weights(VGG19Features(["conv5_4"]), "vgg19", tmp_path / "vgg.safetensors")
    arcface = save_recipe_weights(ResNetArcFace(), "arcface", tmp_path / "arcface.safetensors")
    made = finetune_recipe(
        checkpoint,
        faces,
        steps=20,
        vgg19=vgg19,
        arcface=arcface,
        changes={
            "data": {"held_out": 1, "batch": 1},
            "run": {"save": 5, "log": 1, "validate": 20, "threads": 1},
        },
    )
    seen: list[Any] = []
    stopped = train(made, tmp_path / "run", report=seen.append, should_stop=lambda: len(seen) == 7)
    assert stopped.stopped
    result = train(made, tmp_path / "run", report=seen.append)
    assert result.steps == 20
    assert ALL_LOSSES | {"discriminator_r1"} == set(seen[15].losses)
    assert set(seen[14].losses) == ALL_LOSSES

    before, after = load_file(checkpoint), load_file(result.network)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert not any(key.startswith("stylegan_decoder.") for key in changed)

    artifact = export_file(result.network, tmp_path / "face.onnx").path
    assert artifact is not None
    info, figures = verify_file(artifact, result.network)
    assert info.kind == "face"
    assert figures.psnr_min > 40
    face = np.asarray(Image.open(faces / "0.png"))
    with Restorer(None, faces=FaceOptions(model=artifact, detector="centerface")) as restorer:
        restored = restorer.restore_aligned(face)
    assert restored.photo.pixels.shape == (SIDE, SIDE, 3)
    assert restored.photo.pixels.std() > 1


def test_a_recipe_of_an_upscaler_is_refused_for_a_face(checkpoint: Path, tmp_path: Path) -> None:
    values = {
        "network": {"start": str(checkpoint)},
        "data": {"photos": str(tmp_path)},
        "degradation": {"kind": "second_order"},
        "run": {"steps": 1},
    }
    with pytest.raises(Exception, match='must be "faces" or "paper" for a face network'):
        train(make_recipe(values, folder=Path()), tmp_path / "run")
