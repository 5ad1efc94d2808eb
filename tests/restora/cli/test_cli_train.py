"""`restora train` as a command."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from rich.progress import Progress
from safetensors.torch import save_file

from restora.cli.app import make_command
from restora.cli.training_progress import TrainingProgress
from restora_export.reference import SRVGGNetCompact

RECIPE = """
[network]
architecture = "srvgg"
scale = 2
features = 8
convs = 2

[data]
photos = "photos"
patch = 32
batch = 2
held_out = 1

[degradation]
kind = "mild"

[run]
steps = 2
threads = 1
"""


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(1)
    for index in range(3):
        photo = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (128, 128))
        cv2.imwrite(str(photos / f"{index}.png"), photo)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        make_command()(args=[str(word) for word in words], prog_name="restora")
    captured = capsys.readouterr()
    return int(caught.value.code or 0), " ".join((captured.out + captured.err).split())


def test_a_recipe_runs_and_continues(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, words = run(capsys, "train", "run", recipe, "-o", tmp_path / "run")
    assert code == 0, words
    assert "2 steps done" in words
    assert "PSNR" in words
    assert (tmp_path / "run" / "network.safetensors").exists()
    recipe.write_text(RECIPE.replace("steps = 2", "steps = 3"))
    code, words = run(capsys, "train", "run", recipe, "-o", tmp_path / "run")
    assert (code, "3 steps done" in words) == (0, True)


def test_a_table_of_components_is_for_checkpoints_of_faces(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "upscaler.safetensors"
    torch.manual_seed(1)
    network = SRVGGNetCompact(2, 8, 2)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, checkpoint)
    options = ["--data", tmp_path / "photos", "--components", tmp_path / "c.json"]
    options += ["-o", tmp_path / "run"]
    code, words = run(capsys, "train", "finetune", checkpoint, *options)
    assert (code, "data.faces is for face networks" in words) == (2, True)


def test_only_the_first_process_of_torchrun_prints_the_result(
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "1")
    code, words = run(capsys, "train", "run", recipe, "-o", tmp_path / "run")
    assert code == 0, words
    assert "steps done" not in words


def test_the_loss_that_is_shown_is_that_of_the_generator() -> None:
    with Progress(disable=True) as bar:
        losses = {"pixel": 0.25, "adversarial": 0.5, "discriminator_real": 8.0}
        report = SimpleNamespace(step=1, steps=2, losses=losses, waiting_share=0.0)
        TrainingProgress(bar).show_step(report)
        assert bar.tasks[0].fields["figures"] == "loss 0.7500"


def test_a_preview_shows_four_pairs_a_row(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    code, words = run(capsys, "train", "preview", recipe, "-o", sheet, "--rows", "2")
    assert code == 0, words
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape == (2 * 36, 8 * 36, 3)


def test_a_wrong_recipe_is_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(RECIPE + "[losses]\npixels = 1.0\n")
    code, words = run(capsys, "train", "run", recipe, "-o", tmp_path / "run")
    assert code == 2
    assert "there is no key losses.pixels" in words
