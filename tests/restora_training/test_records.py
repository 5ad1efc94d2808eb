"""What a run leaves to look at."""

import errno
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torchmetrics.functional.image import lpips
from torchmetrics.image import lpip

from restora.errors import DiskFullError, MissingBackendError, OptionError
from restora_training import make_recipe
from restora_training.run import trainer
from restora_training.run.log import read_log
from restora_training.run.perceptual_distance import open_distance
from restora_training.run.records import TENSORBOARD_FOLDER, Records
from training_runs import values_of, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("clean") / "photos")


SHEET = [np.full((4, 6, 3), 200, np.uint8)]


def read_board(folder: Path) -> EventAccumulator:
    board = EventAccumulator(str(folder / TENSORBOARD_FOLDER))
    board.Reload()
    return board


def test_tensorboard_gets_the_figures_and_samples_of_the_log(tmp_path: Path) -> None:
    with Records(tmp_path, done=0, tensorboard=True) as records:
        records.add(1, {"rate": 0.5, "pixel": 0.25})
        records.add(2, {"rate": 0.5, "pixel": 0.125, "psnr": 30.0})
        records.add_samples(2, SHEET)
    board = read_board(tmp_path)
    assert [(e.step, e.value) for e in board.Scalars("pixel")] == [(1, 0.25), (2, 0.125)]
    assert [(e.step, e.value) for e in board.Scalars("psnr")] == [(2, 30.0)]
    (picture,) = board.Images("samples")
    assert (picture.step, picture.height, picture.width) == (2, 4, 6)
    assert [row["psnr"] for row in read_log(tmp_path / "log.csv")] == ["", "30"]


def test_records_of_steps_that_are_done_again_are_replaced(tmp_path: Path) -> None:
    with Records(tmp_path, done=0, tensorboard=True) as records:
        for step in (1, 2, 3, 4):
            records.add(step, {"rate": 0.5, "pixel": 1.0})
    with Records(tmp_path, done=2, tensorboard=True) as records:
        records.add(3, {"rate": 0.5, "pixel": 2.0})
    assert [e.value for e in read_board(tmp_path).Scalars("pixel")] == [1, 1, 2]
    assert [row["pixel"] for row in read_log(tmp_path / "log.csv")] == ["1", "1", "2"]


def test_a_figure_that_comes_later_gets_a_column(tmp_path: Path) -> None:
    with Records(tmp_path, done=0, tensorboard=False) as records:
        records.add(15, {"rate": 0.5, "pixel": 1.0, "pyramid": 2.0})
        records.add(16, {"rate": 0.5, "pixel": 1.0, "discriminator_r1": 3.0})
    with Records(tmp_path, done=16, tensorboard=False) as records:
        records.add(17, {"rate": 0.5, "pixel": 1.0})
    rows = read_log(tmp_path / "log.csv")
    assert [row["discriminator_r1"] for row in rows] == ["", "3", ""]
    assert [row["pyramid"] for row in rows] == ["2", "", ""]


def test_lines_that_were_cut_off_are_left_out_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("step,seconds,rate,waiting_share,pixel\n10,1,1,0,1\n\0\0\0\n2")
    with Records(tmp_path, done=30, tensorboard=False) as records:
        records.add(31, {"pixel": 2.0})
    assert [row["step"] for row in read_log(log)] == ["10", "31"]


def test_a_full_disk_keeps_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Records(tmp_path, done=0, tensorboard=False) as records:
        records.add(1, {"pixel": 1.0})
    before = (tmp_path / "log.csv").read_bytes()

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFullError, match=r"log.csv cannot be written"):
        Records(tmp_path, done=1, tensorboard=False)
    assert (tmp_path / "log.csv").read_bytes() == before


def test_a_run_without_tensorboard_writes_nothing_for_it(tmp_path: Path) -> None:
    with Records(tmp_path, done=0, tensorboard=False) as records:
        records.add(1, {"rate": 0.5})
    assert not (tmp_path / TENSORBOARD_FOLDER).exists()


def test_tensorboard_must_be_installed_to_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingBackendError, match=r"run.tensorboard needs pip install"):
        Records(tmp_path, done=0, tensorboard=True)


def test_lpips_needs_its_weights_and_its_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OptionError, match=r"alexnet-owt-7be5be79.pth, but there is no file"):
        open_distance(tmp_path / "none.pth")
    (tmp_path / "alexnet.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingBackendError, match="LPIPS needs pip install"):
        open_distance(tmp_path / "alexnet.pth")


def alexnet_features() -> nn.Sequential:
    """The convolutions of torchvision's AlexNet (arXiv:1404.5997)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
    )


@pytest.fixture
def torchvision_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision has no build for every PyTorch; this reads the weights from where it does."""

    def features(net: str, pretrained: bool = False) -> nn.Sequential:
        assert (net, pretrained) == ("alexnet", True)
        network = alexnet_features()
        file = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
        network.load_state_dict(torch.load(file))
        return network

    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setattr(lpip, "_TORCHVISION_AVAILABLE", True)
    monkeypatch.setattr(lpips, "_get_tv_model_features", features)


@pytest.mark.usefixtures("torchvision_double")
def test_lpips_is_zero_for_equal_pictures_and_grows_with_their_difference(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(alexnet_features().state_dict(), tmp_path / "alexnet.pth")
    before = torch.hub.get_dir()
    distance = open_distance(tmp_path / "alexnet.pth")
    assert torch.hub.get_dir() == before
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert distance(picture, picture) == pytest.approx(0, abs=1e-6)
    near, far = picture // 2 + 64, 255 - picture
    assert 0 < distance(picture, near) < distance(picture, far)
    (tmp_path / "other.pth").write_bytes(b"no weights")
    with pytest.raises(OptionError, match="is not torchvision's"):
        open_distance(tmp_path / "other.pth")
    assert torch.hub.get_dir() == before


def test_lpips_of_held_out_photos_is_in_the_log(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[Any] = []

    def open_fake(weights: Path) -> Any:
        assert weights == Path("alexnet.pth")
        return lambda a, b: pictures.append((a.shape, b.shape)) or 0.25

    monkeypatch.setattr(trainer, "open_distance", open_fake)
    values = values_of(photos, lpips="alexnet.pth")
    result = trainer.train(make_recipe(values, folder=Path()), tmp_path / "run")
    assert result.figures is not None
    assert result.figures.lpips == 0.25
    assert set(pictures) == {((32, 32, 3), (32, 32, 3))}
    assert [row["lpips"] for row in read_log(tmp_path / "run" / "log.csv")] == [
        "",
        "0.25",
        "",
        "0.25",
    ]
