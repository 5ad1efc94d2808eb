"""Distillation from a tiny teacher to a tinier student, through the engine."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import recipe
from restora import RestoreOptions, Restorer
from restora.errors import OptionError
from restora_export.reference import RRDBNet
from restora_training import Recipe, make_recipe, train
from restora_training.answers import DistillOptions, collect_answers
from restora_training.data.pairs import Pair, PairSet, open_pairs, write_pair
from restora_training.distill import distill
from restora_training.ready import student_network
from restora_training.recipe_parts import DegradationPart

OPTIONS = DistillOptions(
    student="srvgg-2x8",
    degradation=DegradationPart(kind="mild"),
    pairs=4,
    held_out=1,
    side=32,
    steps=4,
    patch=32,
    batch=2,
)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    network = recipe.fill_network(RRDBNet(2, 8, 4, 1), 7, "rrdb")
    path = tmp_path / "teacher.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path


@pytest.mark.slow
def test_a_teacher_becomes_an_exported_student_with_its_table(
    teacher: Path, tmp_path: Path
) -> None:
    seen = []
    result = distill(
        teacher,
        tmp_path / "work",
        OPTIONS,
        restore_options=RestoreOptions(backend="cpu"),
        report_pairs=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert result is not None
    assert result.artifact == tmp_path / "work" / "srvgg-2x8-x2.onnx"
    large, small, bicubic = result.rows
    assert (large.name, small.name, bicubic.name) == ("teacher", "srvgg-2x8-x2", "bicubic")
    assert large.psnr_teacher is None
    assert small.psnr_teacher is not None
    assert small.psnr_teacher > 5
    assert large.megabytes is not None
    assert small.megabytes is not None
    assert bicubic.megabytes is None
    assert all(row.megapixels_per_s > 0 for row in result.rows)
    with pytest.raises(OptionError, match="answers of another teacher, or to other photos"):
        distill(
            teacher,
            tmp_path / "work",
            replace(OPTIONS, seed=1),
            restore_options=RestoreOptions(backend="cpu"),
        )


def test_answers_that_an_earlier_version_collected_are_used(teacher: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    with Restorer(teacher, options=RestoreOptions(backend="cpu")) as restorer:
        collect_answers(restorer, folder, replace(OPTIONS, pairs=2), None, lambda: False)
        questions = json.loads((folder / "questions.json").read_text())
        for key in ("mild_share", "sigma", "noise", "quality"):
            del questions["degradation"][key]
        (folder / "questions.json").write_text(json.dumps(questions))
        collect_answers(restorer, folder, replace(OPTIONS, pairs=2), None, lambda: False)
        questions["degradation"]["mild_share"] = 0.5
        (folder / "questions.json").write_text(json.dumps(questions))
        with pytest.raises(OptionError, match="answers of another teacher, or to other photos"):
            collect_answers(restorer, folder, replace(OPTIONS, pairs=2), None, lambda: False)


@pytest.mark.parametrize(("own_folder", "counts"), [(False, (2, 3)), (True, (5, 2))])
def test_pairs_to_compare_with_show_photos_that_no_other_pair_shows(
    teacher: Path, tmp_path: Path, own_folder: bool, counts: tuple[int, int]
) -> None:
    others = make_photos(tmp_path / "others", [20, 220]) if own_folder else None
    options = replace(
        OPTIONS,
        photos=make_photos(tmp_path / "photos", [40, 80, 120, 160, 200]),
        held_out_folder=others,
        degradation=DegradationPart(kind="shrink"),
        jitter=False,
        pairs=36,
        held_out=12,
    )
    with Restorer(teacher, options=RestoreOptions(backend="cpu")) as restorer:
        collect_answers(restorer, tmp_path / "pairs", options, None, lambda: False)
    training, held_out = open_pairs(tmp_path / "pairs", scale=2, held_out=12)
    seen, unseen = (
        {int(pairs[index].degraded[0, 0, 0]) for index in range(len(pairs))}
        for pairs in (training, held_out)
    )
    assert (len(seen), len(unseen)) == counts
    assert not seen & unseen


def make_photos(folder: Path, values: list[int]) -> Path:
    folder.mkdir()
    for value in values:
        Image.new("RGB", (96, 96), (value,) * 3).save(folder / f"{value}.png")
    return folder


def test_the_teacher_is_asked_about_pictures_that_hold_a_patch(
    teacher: Path, tmp_path: Path
) -> None:
    options = replace(OPTIONS, pairs=1, held_out=0, side=8, patch=96)
    with Restorer(teacher, options=RestoreOptions(backend="cpu")) as restorer:
        collect_answers(restorer, tmp_path / "pairs", options, None, lambda: False)
    training, _ = open_pairs(tmp_path / "pairs", scale=2, held_out=0)
    assert training[0].degraded.shape == (48, 48, 3)


def pair_of(side: int, value: int) -> Pair:
    degraded = np.full((side, side, 3), value, np.uint8)
    return Pair(degraded, degraded.repeat(2, 0).repeat(2, 1), None)


def test_pairs_are_kept_whole_and_checked(tmp_path: Path) -> None:
    for number in range(3):
        write_pair(tmp_path, number, pair_of(8, number))
    training, held_out = open_pairs(tmp_path, scale=2, held_out=1)
    assert (len(training), len(held_out)) == (2, 1)
    assert held_out[0].degraded[0, 0, 0] == 0
    assert training[1].answer[0, 0, 0] == 2
    other, _ = open_pairs(tmp_path, scale=4, held_out=0)
    with pytest.raises(OptionError, match=r"must be uint8 of shape \(32, 32, 3\)"):
        other[0]
    (tmp_path / "000001.npz").write_bytes(b"PK")
    with pytest.raises(OptionError, match=r"000001.npz is not a pair"):
        training[0]
    with pytest.raises(OptionError, match="has 3 pairs; training needs more than the 3"):
        open_pairs(tmp_path, scale=2, held_out=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"degraded": np.zeros(8, np.uint8)}, r"the degraded picture must be uint8 of shape"),
        ({"degraded": np.zeros((8, 8, 4), np.uint8)}, r"degraded picture must be .* \(8, 8, 3\)"),
        ({"degraded": np.zeros((8, 8, 3))}, r"it is float64 of shape \(8, 8, 3\)"),
        ({"clean": np.zeros((8, 8, 3), np.uint8)}, r"clean picture must be .* \(16, 16, 3\)"),
    ],
)
def test_pictures_of_a_pair_have_their_shapes(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    pair = pair_of(8, 3)
    arrays = {"degraded": pair.degraded, "answer": pair.answer, **change}
    np.savez(tmp_path / "000000.npz", **arrays)
    training, _ = open_pairs(tmp_path, scale=2, held_out=0)
    with pytest.raises(OptionError, match=message):
        training[0]


def test_a_damaged_pair_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 50, (32, 32, 3), np.uint8)
    path = write_pair(tmp_path, 0, Pair(pixels, pixels, None))
    whole = path.read_bytes()
    unharmed = 0
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=3):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(OptionError):
            open_pairs(tmp_path, scale=1, held_out=0)[0][0]
            unharmed += 1
    assert unharmed < 30


def test_a_pair_that_is_smaller_than_a_patch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    write_pair(tmp_path / "pairs", 0, pair_of(7, 100))
    with pytest.raises(OptionError, match=r"000000.npz .* data.patch must be at most 14, got 16"):
        train(recipe_of_pairs(tmp_path / "pairs"), tmp_path / "run")


def test_a_pair_is_read_once_and_stays_in_memory(tmp_path: Path) -> None:
    for number in range(2):
        write_pair(tmp_path, number, pair_of(8, number))
    size = 8 * 8 * 3 + 16 * 16 * 3
    pairs = PairSet(sorted(tmp_path.glob("*.npz")), 2, cache_bytes=size)
    assert pairs[0] is pairs[0]
    assert pairs[1] is not pairs[1]  # there is no room for it
    for path in tmp_path.glob("*.npz"):
        path.unlink()
    assert pairs[0].degraded[0, 0, 0] == 0
    with pytest.raises(OptionError, match=r"000001.npz is not a pair"):
        pairs[1]


def test_clean_pictures_are_read_only_where_a_loss_needs_them(tmp_path: Path) -> None:
    pair = pair_of(8, 3)
    for number in range(2):
        write_pair(tmp_path, number, replace(pair, clean=pair.answer + 1))
    training, held_out = open_pairs(tmp_path, scale=2, held_out=1, with_clean=False)
    assert training[0].clean is None
    assert held_out[0].clean is not None


def recipe_of_pairs(folder: Path, **losses: float) -> Recipe:
    return make_recipe(
        {
            "network": {"architecture": "srvgg", "scale": 2, "features": 4, "convs": 1},
            "data": {"pairs": folder, "patch": 16, "batch": 1, "held_out": 0},
            "losses": losses,
            "run": {"steps": 1, "validate": 1},
        },
        folder=Path(),
    )


def test_a_student_can_be_fitted_to_the_truth_too(tmp_path: Path) -> None:
    pair = pair_of(8, 100)
    (tmp_path / "pairs").mkdir()
    write_pair(tmp_path / "pairs", 0, replace(pair, clean=pair.answer + 51))
    made = recipe_of_pairs(tmp_path / "pairs", truth=0.5)
    seen = []
    train(made, tmp_path / "run", report=lambda report: seen.append(report.losses))
    # the network starts near the answer, which is 51 / 255 away from the truth
    assert seen[0]["truth"] == pytest.approx(0.5 * 51 / 255, abs=0.5 * seen[0]["pixel"] + 1e-6)
    assert seen[0]["truth"] > 0


def test_the_truth_must_be_known_to_fit_a_student_to_it(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    write_pair(tmp_path / "pairs", 0, pair_of(8, 100))
    with pytest.raises(OptionError, match=r"losses.truth needs clean pictures, but .*000000.npz"):
        train(recipe_of_pairs(tmp_path / "pairs", truth=0.5), tmp_path / "run")


def test_students_have_names() -> None:
    assert student_network("srvgg-16x64", scale=4)["convs"] == 16
    assert student_network("rrdb-6x64", scale=4)["growth"] == 32
    with pytest.raises(OptionError, match="such as srvgg-16x64 or rrdb-6x64, got 'unet'"):
        student_network("unet", scale=4)


def test_no_answers_to_train_on_are_refused() -> None:
    with pytest.raises(OptionError, match="more than the 16 that are held out, got 16"):
        DistillOptions(pairs=16)
