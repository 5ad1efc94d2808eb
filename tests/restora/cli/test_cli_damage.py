"""`restora restore --damage`: flags, files, rows and exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest

from damage_fakes import FILLED, MAGENTA, gray_picture, write_networks
from fakes import tiny_artifact
from processes import run
from restora.image import Photo, read_photo, write_photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_networks(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(tiny_artifact(scale=2).onnx)
    pixels = gray_picture(40, 60)
    pixels[20, 5:55] = MAGENTA
    write_photo(Photo(pixels), tmp_path / "print.png")
    return tmp_path


COMMON = ("restore", "-i", "print.png", "-n", "tiny.onnx", "--backend", "cpu", "--json")
NETWORKS = ("--damage-detector", "marks.onnx", "--damage-repairer", "filler.onnx")


def row_of(output: str) -> dict[str, object]:
    (line,) = output.splitlines()
    row: dict[str, object] = json.loads(line)
    return row


def test_a_print_is_repaired_and_its_mask_saved(folder: Path) -> None:
    result = run(folder, *COMMON, *NETWORKS, "-o", "new.png", "--damage", "all", "--save-mask")
    assert result.returncode == 0, result.stderr
    row = row_of(result.stdout)
    damage = row["damage"]
    assert isinstance(damage, dict)
    assert (damage["status"], damage["regions"], damage["pixels"]) == ("repaired", 1, 3 * 52)
    mask = read_photo(folder / "new_mask.png").pixels
    assert mask.shape == (40, 60)
    assert int((mask == 255).sum()) == 3 * 52
    assert int((mask == 0).sum()) == 40 * 60 - 3 * 52
    assert (read_photo(folder / "new.png").pixels[41, 20:100] == FILLED).all()


def test_a_drawn_mask_is_enough_and_needs_no_detector(folder: Path) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[:5, :5] = 255
    write_photo(Photo(mask), folder / "drawn.png")
    words = (*COMMON, "--damage-repairer", "filler.onnx", "--damage-mask", "drawn.png")
    result = run(folder, *words, "-o", "new.png")
    assert result.returncode == 0, result.stderr
    damage = row_of(result.stdout)["damage"]
    assert isinstance(damage, dict)
    assert damage["pixels"] == 25


def test_too_much_damage_ends_with_code_3_and_says_so(folder: Path) -> None:
    words = (*COMMON, *NETWORKS, "--damage", "all", "--damage-share", "0.01")
    result = run(folder, *words, "-o", "new.png")
    assert result.returncode == 3
    damage = row_of(result.stdout)["damage"]
    assert isinstance(damage, dict)
    assert damage["status"] == "refused"
    assert "nothing was repaired: 6% of the photo is damaged" in result.stderr
    assert (folder / "new.png").exists()


def test_the_bundled_networks_find_and_repair_the_sample_print(folder: Path) -> None:
    assert run(folder, "sample", "--print", "-o", "old.jpg").returncode == 0
    words = ("restore", "-i", "old.jpg", "-o", "new.png", "-n", "tiny.onnx", "--backend", "cpu")
    result = run(folder, *words, "--damage", "all", "--color", "unfade", "--save-mask", "--json")
    assert result.returncode == 0, result.stderr
    damage = row_of(result.stdout)["damage"]
    assert isinstance(damage, dict)
    assert damage["status"] == "repaired"
    true = read_photo(folder / "old_mask.png").pixels > 0
    found = read_photo(folder / "new_mask.png").pixels > 0
    assert (found & true).sum() > 0.4 * true.sum()  # the mask is wider than the damage
    assert (found & ~true).mean() < 0.005  # of the print


def test_the_sample_print_comes_with_a_mask_of_its_damage(folder: Path) -> None:
    assert run(folder, "sample", "--print", "-o", "old.jpg").returncode == 0
    mask, photo = read_photo(folder / "old_mask.png"), read_photo(folder / "old.jpg")
    assert mask.pixels.shape == photo.pixels.shape[:2]
    assert 0.01 < (mask.pixels > 0).mean() < 0.2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--save-mask",), 2, "--save-mask needs --damage or --damage-mask"),
        (("--damage", "all", "--aligned"), 2, "--aligned faces are not repaired"),
        (("--damage", "some"), 2, "some"),
        (("--damage", "all", "--damage-mask", "gone.png"), 4, "gone.png"),
        (("--damage", "all", "--damage-mask", "ramp.png"), 2, "must be black and white"),
        (("--damage", "all", "--damage-mask", "small.png"), 4, "the size of the photo, 60 x 40"),
        (("--damage", "all", "--damage-threshold", "0"), 2, "between 0 and 1"),
    ],
)
def test_what_cannot_work_is_said_and_has_its_exit_code(
    folder: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    ramp = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))
    write_photo(Photo(ramp), folder / "ramp.png")
    write_photo(Photo(np.zeros((8, 8), np.uint8)), folder / "small.png")
    result = run(folder, *COMMON, *NETWORKS, *words, "-o", "new.png")
    assert result.returncode == code, result.stderr
    assert said in result.stderr


def test_a_cluster_takes_the_same_options_but_saves_no_masks(folder: Path) -> None:
    pytest.importorskip("ray")
    words = ("cluster", "-i", ".", "-o", "out", "-n", "tiny.onnx", "--damage", "all")
    result = run(folder, *words, "--damage-threshold", "0")
    assert result.returncode == 2
    assert "between 0 and 1" in result.stderr
    assert "No such option: --save-mask" in run(folder, *words, "--save-mask").stderr


def test_a_video_is_not_repaired_and_the_option_is_refused(folder: Path) -> None:
    result = run(folder, "video", "-i", "old.mp4", "-o", "new.mp4", "--damage", "all")
    assert result.returncode == 2
    assert "No such option: --damage" in result.stderr


def test_masks_of_a_folder_lie_beside_the_results_and_the_run_continues(folder: Path) -> None:
    (folder / "in").mkdir()
    for name in ("a.png", "b.png"):
        (folder / "in" / name).write_bytes((folder / "print.png").read_bytes())
    words = ("restore", "-i", "in", "-o", "out", "-n", "tiny.onnx", "--backend", "cpu", *NETWORKS)
    repair = (*words, "--damage", "scratches", "--save-mask")
    assert run(folder, *repair).returncode == 0
    assert sorted(path.name for path in (folder / "out").glob("[!.]*")) == [
        "a.png", "a_mask.png", "b.png", "b_mask.png",
    ]  # fmt: skip
    assert "2 skipped" in run(folder, *repair).stderr
    (folder / "out" / "a_mask.png").unlink()
    assert "1 restored, 1 skipped" in run(folder, *repair).stderr
    assert (folder / "out" / "a_mask.png").exists()
    # other settings: made again
    assert "2 restored" in run(folder, *words).stderr


def test_colors_are_left_or_corrected_and_the_row_says_which(folder: Path) -> None:
    result = run(folder, *COMMON, "-o", "new.png", "--color", "unfade")
    assert result.returncode == 0, result.stderr
    color = row_of(result.stdout)["color"]
    assert isinstance(color, dict)
    assert set(color) >= {"changed", "strength"}
