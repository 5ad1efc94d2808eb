"""What a run says to input that it cannot use, and what it does after an unlucky kill."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from restora.errors import CheckpointError, OptionError
from restora_export.reference import DamageDetector, RRDBNet
from restora_training import TrainingResult, make_recipe, train
from restora_training.extractors import VGG19Features
from restora_training.run.fixed_weights import load_weights
from restora_training.run.state import EARLIER_STATE_FILE, NETWORK_FILE, STATE_FILE
from training_runs import values_of, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("clean") / "photos")


def run(values: dict[str, Any], folder: Path) -> TrainingResult:
    return train(make_recipe(values, folder=Path()), folder)


def save(network: torch.nn.Module, path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match=r"there are no photos in .*empty"):
        run(values_of(tmp_path / "empty"), tmp_path / "run")
    with pytest.raises(OptionError, match=r"there is no folder .*none"):
        run(values_of(tmp_path / "none"), tmp_path / "run")


def test_a_folder_with_no_more_photos_than_are_held_out_is_refused(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 1)
    with pytest.raises(OptionError, match="needs more than the 1 that are held out"):
        run(values_of(folder), tmp_path / "run")


def test_a_network_that_cannot_be_trained_is_refused(photos: Path, tmp_path: Path) -> None:
    values = values_of(photos)
    values["network"] = {
        "start": save(DamageDetector((8, 8, 8, 8)), tmp_path / "detector.safetensors")
    }
    with pytest.raises(CheckpointError, match="only RRDBNet, SRVGGNetCompact and GFP-GAN can be"):
        run(values, tmp_path / "run")


def test_weights_of_a_loss_must_exist_and_be_its_own(tmp_path: Path) -> None:
    vgg19 = VGG19Features(["conv1_2"])
    with pytest.raises(OptionError, match=r"none.pth cannot be read: No such file"):
        load_weights(vgg19, tmp_path / "none.pth")
    other = save(RRDBNet(2, 8, 4, 1), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"safetensors: it is not for VGG19Features: it l"):
        load_weights(vgg19, other, allow_more=True)
    state = vgg19.state_dict()
    state["features.0.weight"] = state["features.0.weight"][:3].clone()
    save_file(state, tmp_path / "small.safetensors")
    with pytest.raises(CheckpointError, match=r"features.0.weight must have shape \(64, 3, 3, 3\)"):
        load_weights(vgg19, tmp_path / "small.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], r"weights.pth: it must hold a dictionary of tensors"),
        (
            {"state_dict": {}, 3: torch.zeros(1)},
            r"weights.pth: it is not for VGG19Features",
        ),
        (None, r"weights.pth: it is not a PyTorch checkpoint, or a damaged one"),
    ],
)
def test_a_file_of_something_else_than_weights_is_named(
    tmp_path: Path, content: Any, message: str
) -> None:
    path = tmp_path / "weights.pth"
    if content is None:
        path.write_bytes(b"no weights")
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load_weights(VGG19Features(["conv1_2"]), path)


def test_weights_beside_other_entries_are_loaded(tmp_path: Path) -> None:
    vgg19 = VGG19Features(["conv1_1"])
    wanted = {key: torch.rand_like(value) for key, value in vgg19.state_dict().items()}
    stored = {f"module.{key}": value for key, value in wanted.items()}
    torch.save({**stored, "epoch": 3}, tmp_path / "weights.pth")
    load_weights(vgg19, tmp_path / "weights.pth")
    assert all(torch.equal(value, wanted[key]) for key, value in vgg19.state_dict().items())


def test_a_damaged_state_says_what_to_do(photos: Path, tmp_path: Path) -> None:
    run(values_of(photos, steps=2), tmp_path / "run")
    (tmp_path / "run" / STATE_FILE).write_bytes(b"PK damaged")
    with pytest.raises(CheckpointError, match=r"is damaged .*: remove it to continue from"):
        run(values_of(photos), tmp_path / "run")


def test_a_run_that_lost_its_last_state_continues_from_the_earlier_one(
    photos: Path, tmp_path: Path
) -> None:
    whole = run(values_of(photos), tmp_path / "run")
    first = load_file(whole.network)
    # killed between the two moves of a save
    (tmp_path / "run" / STATE_FILE).unlink()
    assert (tmp_path / "run" / EARLIER_STATE_FILE).exists()
    seen = []
    recipe = make_recipe(values_of(photos), folder=Path())
    again = train(recipe, tmp_path / "run", report=lambda report: seen.append(report.step))
    assert seen == [3, 4]
    second = load_file(again.network)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_what_a_killed_run_left_of_its_files_is_removed(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in (STATE_FILE, NETWORK_FILE, "log.csv"):
        (tmp_path / "run" / f".{name}.0123abcd.part").write_bytes(b"half of it")
    run(values_of(photos, steps=1), tmp_path / "run")
    assert not list((tmp_path / "run").glob(".*.part"))
