"""Facts about RestoreBatch: picklable, a row for every input, an exception for no photo."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from damage_fakes import FILLED, MAGENTA, gray_picture, write_networks
from fakes import tiny_artifact
from restora.cluster import BatchRecipe, RestoreBatch
from restora.damage import DamageOptions
from restora.errors import MissingModelError
from restora.image import Photo, read_photo, write_photo
from restora.options import RestoreOptions


@pytest.fixture
def recipe(tmp_path: Path) -> BatchRecipe:
    (tmp_path / "tiny.onnx").write_bytes(tiny_artifact(scale=2, io="uint8").onnx)
    return BatchRecipe(
        model=str(tmp_path / "tiny.onnx"),
        options=RestoreOptions(backend="cpu"),
        root=str(tmp_path / "out"),
    )


def columns(folder: Path, names: list[str]) -> dict[str, list[str]]:
    return {
        "input": [str(folder / name) for name in names],
        "output": [str(folder / "out" / f"{Path(name).stem}.png") for name in names],
    }


def make_photos(folder: Path, count: int) -> list[str]:
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (12, 20, 3), np.uint8)
        write_photo(Photo(pixels), folder / f"{index}.png")
    return [f"{index}.png" for index in range(count)]


def test_every_input_gives_one_row_in_order(recipe: BatchRecipe, tmp_path: Path) -> None:
    names = make_photos(tmp_path, 3)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    names[1:1] = ["bad.jpg", "absent.png"]
    batch = columns(tmp_path, names)
    rows = RestoreBatch(recipe)(batch)
    assert rows["input"] == batch["input"]
    assert rows["status"] == ["restored", "failed", "failed", "restored", "restored"]
    assert rows["error_type"][1] == "TruncatedImageError"
    assert rows["reason"][2]
    assert rows["width"][0] == 40
    assert read_photo(tmp_path / "out" / "0.png").height == 24
    assert len(rows["sha256"][0]) == 64


def test_results_stay_inside_their_folder(recipe: BatchRecipe, tmp_path: Path) -> None:
    make_photos(tmp_path, 1)
    batch = {"input": [str(tmp_path / "0.png")], "output": [str(tmp_path / "elsewhere.png")]}
    rows = RestoreBatch(recipe)(batch)
    assert rows["error_type"] == ["UnsafePathError"]
    assert not (tmp_path / "elsewhere.png").exists()


def test_it_takes_arrays_and_opens_again_after_it_was_closed(
    recipe: BatchRecipe, tmp_path: Path
) -> None:
    batch = {name: np.array(v) for name, v in columns(tmp_path, make_photos(tmp_path, 2)).items()}
    restore = RestoreBatch(recipe)
    first = restore(batch)
    restore.close()
    assert restore(batch)["sha256"] == first["sha256"]


def test_it_can_be_sent_to_another_process_after_use(recipe: BatchRecipe, tmp_path: Path) -> None:
    batch = columns(tmp_path, make_photos(tmp_path, 2))
    restore = RestoreBatch(recipe)
    first = restore(batch)
    assert len(pickle.dumps(restore)) < 10_000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(restore, batch).result()["sha256"] == first["sha256"]


def test_a_worker_repairs_damage_and_its_row_says_what(recipe: BatchRecipe, tmp_path: Path) -> None:
    detector, repairer = write_networks(tmp_path)
    pixels = gray_picture(24, 32)
    pixels[12, 4:28] = MAGENTA
    write_photo(Photo(pixels), tmp_path / "print.png")
    damage = DamageOptions(detector=detector, repairer=repairer)
    restore = pickle.loads(pickle.dumps(RestoreBatch(replace(recipe, damage=damage))))
    (text,) = restore(columns(tmp_path, ["print.png"]))["damage"]
    facts = json.loads(text)
    assert (facts["status"], facts["pixels"]) == ("repaired", 3 * 26)
    assert (read_photo(tmp_path / "out" / "print.png").pixels[24, 20:40] == FILLED).all()


def test_a_missing_model_is_raised(tmp_path: Path) -> None:
    batch = columns(tmp_path, make_photos(tmp_path, 1))
    with pytest.raises(MissingModelError):
        RestoreBatch(BatchRecipe(model=str(tmp_path / "absent.onnx")))(batch)
