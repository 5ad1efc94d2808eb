"""Facts about `restora evaluate`: pairs that can be made again, figures, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from processes import run
from restora import Photo, write_photo
from restora.errors import MissingBackendError, MissingModelError, ModelError, OptionError
from restora_benchmarks.evaluate import metrics
from restora_benchmarks.evaluate.identity import SIDE, TEMPLATE, IdentityDistance, crop_for_arcface
from restora_benchmarks.evaluate.metrics import FrechetDistance, lpips, psnr, ssim
from restora_benchmarks.evaluate.pairs import Pair, make_pairs, read_pairs, resize
from restora_benchmarks.evaluate.run import evaluate
from restora_calibration.degrade import FACES, MILD
from restora_calibration.folders import list_photos


def picture(seed: int, side: int = 64) -> Any:
    rows, cols = np.mgrid[:side, :side]
    wave = 120 + 100 * np.sin(rows / (5 + seed)) * np.cos(cols / 7)
    return np.repeat(wave.astype(np.uint8)[..., None], 3, 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "clean"
    folder.mkdir()
    for seed in range(6):
        write_photo(Photo(picture(seed)), folder / f"photo{seed}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_sample_depends_on_names_and_seed_alone(photos: Path) -> None:
    assert len(list_photos(photos)) == 6
    first = list_photos(photos, share=0.5, seed=1)
    assert len(first) == 3
    assert first == list_photos(photos, share=0.5, seed=1)
    assert len({tuple(list_photos(photos, share=0.5, seed=seed)) for seed in range(8)}) > 1
    with pytest.raises(OptionError, match=r"in 0\.\.1"):
        list_photos(photos, share=0)
    with pytest.raises(OptionError, match="no photos in"):
        list_photos(_empty(photos))


def _empty(photos: Path) -> Path:
    folder = photos / "empty"
    folder.mkdir()
    return folder


def test_a_photo_is_degraded_the_same_whatever_else_there_is(photos: Path) -> None:
    files = list_photos(photos)
    whole = {p.name: p for p in make_pairs(files, FACES, seed=3, keep_size=True)}
    (alone,) = make_pairs(files[4:5], FACES, seed=3, keep_size=True)
    assert np.array_equal(alone.degraded, whole[alone.name].degraded)
    assert alone.degraded.shape == alone.clean.shape
    (other,) = make_pairs(files[4:5], FACES, seed=4, keep_size=True)
    assert not np.array_equal(other.degraded, alone.degraded)
    (small,) = make_pairs(files[:1], MILD, seed=3, keep_size=False)
    assert small.degraded.shape == (32, 32, 3)


def test_partners_share_a_name(photos: Path, tmp_path: Path) -> None:
    degraded = tmp_path / "degraded"
    degraded.mkdir()
    for path in list_photos(photos)[:5]:
        write_photo(Photo(picture(9, 32)), degraded / f"{path.stem}.jpg")
    with pytest.raises(OptionError, match=r"1 of 6 clean photos have no partner.*photo5.png"):
        list(read_pairs(list_photos(photos), degraded))
    write_photo(Photo(picture(9, 32)), degraded / "photo5.jpg")
    assert len(list(read_pairs(list_photos(photos), degraded))) == 6


def test_figures_of_equal_and_of_unequal_photos() -> None:
    pairs = [Pair("a", picture(0), picture(0)), Pair("b", picture(1), picture(1))]
    shifted = evaluate(pairs, lambda p: np.roll(p, 1, 0), [psnr(), ssim()], pipeline="none")
    small = evaluate(pairs, lambda p: resize(p, (32, 32)), [psnr(), ssim()], pipeline="none")
    assert 10 < shifted.figures["PSNR"] < 40
    assert shifted.photos == small.photos == 2
    assert 0 < small.figures["SSIM"] < 1


def test_a_photo_that_fails_is_named_and_not_counted() -> None:
    pairs = [Pair("good", picture(0), picture(0)), Pair("bad", picture(1), picture(1))]

    def restore(pixels: Any) -> Any:
        if np.array_equal(pixels, picture(1)):
            raise OptionError("cannot be done")
        return np.roll(pixels, 1, 0)

    found = evaluate(pairs, restore, [psnr()], pipeline="none")
    assert found.photos == 1
    assert found.failed == (("bad", "cannot be done"),)
    with pytest.raises(OptionError, match="not one of 1 photos could be restored"):
        evaluate(pairs[1:], restore, [psnr()], pipeline="none")


class MeanColors(nn.Module):
    """Features that are known: the means of the channels of the four quarters."""

    num_features = 12

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x.float(), 2).flatten(1)


def test_the_frechet_distance_is_zero_for_equal_sets_and_grows() -> None:
    pytest.importorskip("torchmetrics")
    same = FrechetDistance(None, MeanColors())
    apart = FrechetDistance(None, MeanColors())
    for seed in range(24):
        clean = np.clip(picture(seed % 5, 32).astype(int) + seed, 0, 255).astype(np.uint8)
        same.add(clean, clean)
        apart.add(clean, np.clip(clean.astype(int) + 20, 0, 255).astype(np.uint8))
    assert abs(same.figure()) < 1e-3
    assert apart.figure() > 1000  # 12 features moved by 20: 12 * 400 without what clips


def test_backbones_that_are_not_here_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchmetrics")
    with pytest.raises(
        (MissingModelError, MissingBackendError), match=r"weights-inception|evaluate"
    ):
        FrechetDistance(tmp_path)
    with pytest.raises((MissingModelError, MissingBackendError), match="LPIPS needs"):
        lpips(tmp_path)
    monkeypatch.setenv("TORCH_HOME", "/kept")
    with metrics._torch_home(tmp_path):
        pass
    assert metrics.os.environ["TORCH_HOME"] == "/kept"


def arcface(path: Path, side: int = SIDE) -> Path:
    """An "embedding" that is known: the mean color of each quarter."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[56, 56], strides=[56, 56]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, side, side]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", None]),
    ]
    graph = helper.make_graph(nodes, "arcface", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_identity_is_an_angle(tmp_path: Path) -> None:
    distance = IdentityDistance(arcface(tmp_path / "arcface.onnx"))
    face = np.full((512, 512, 3), 255, np.uint8)
    distance.add(face, face)
    assert distance.figure() == pytest.approx(0, abs=0.1)
    distance.add(face, 255 - face)
    assert distance.figure() == pytest.approx(90, abs=0.1)
    with pytest.raises(MissingModelError, match="no ArcFace model"):
        IdentityDistance(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="must take"):
        IdentityDistance(arcface(tmp_path / "other.onnx", side=160))


def test_a_face_lands_on_arcfaces_template() -> None:
    """Marks at the five points of the FFHQ template."""
    from restora.faces.align import TEMPLATE as FFHQ

    for x, y in FFHQ:
        face = np.zeros((512, 512, 3), np.uint8)
        face[int(y) - 8 : int(y) + 9, int(x) - 8 : int(x) + 9] = 255
        rows, cols = np.nonzero(crop_for_arcface(face)[..., 0])
        nearest = np.abs(TEMPLATE - [cols.mean(), rows.mean()]).sum(1).min()
        assert nearest < 5  # the two templates are not quite similar figures


def test_the_command_prints_and_writes_figures(photos: Path, tmp_path: Path) -> None:
    words = ["evaluate", "--clean", str(photos), "--degrade", "mild", "--share", "0.5"]
    words += ["--pipelines", "none,upsampler", "--backend", "cpu", "-o", str(tmp_path / "e.json")]
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "e.json").read_text())
    assert [row["pipeline"] for row in result["rows"]] == ["none", "upsampler"]
    assert result["photos"] == 3
    assert result["degradation"]["seed"] == 0
    assert result["rows"][1]["figures"]["PSNR"] > 15
    again = run(tmp_path, *words[:-1], str(tmp_path / "f.json"))
    assert again.returncode == 0
    assert json.loads((tmp_path / "f.json").read_text())["rows"] == result["rows"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--metrics", "beauty"), "metrics must be some of psnr"),
        (("--metrics", "identity"), "needs --arcface"),
        (("--pipelines", "magic"), "pipelines must be some of none"),
    ],
)
def test_wrong_usage_is_said_before_any_work(
    photos: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = run(tmp_path, "evaluate", "--clean", str(photos), *words)
    assert done.returncode == 2
    assert message in done.stderr
