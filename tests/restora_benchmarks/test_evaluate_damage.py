"""Figures of damage: what a perfect and a blind network would get, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from damage_fakes import FILLED, MAGENTA, gray_picture, stage_of, write_networks
from processes import run
from restora.errors import OptionError
from restora.image import Photo, write_photo
from restora_benchmarks.evaluate.damage import evaluate_damage
from restora_benchmarks.evaluate.damage_figures import (
    Detection,
    KindFigures,
    PhotoFigures,
    Repair,
    detection_of,
    kind_figures_of,
    repair_of,
)
from restora_benchmarks.evaluate.damage_pairs import iter_pairs, iter_scans, iter_scratched
from restora_benchmarks.evaluate.damage_report import DamageReport
from restora_benchmarks.evaluate.damage_tables import format_tables
from restora_benchmarks.evaluate.marked import MarkedFigures, figures_of, iter_marked


def line(row: int, side: int = 30) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[row, 2:28] = True
    return mask


def grow(mask: np.ndarray, by: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1,) * 2, np.uint8)) > 0


def test_a_mask_one_pixel_aside_is_right_and_two_pixels_aside_is_wrong() -> None:
    everywhere = np.ones((30, 30), bool)
    near = detection_of(line(11), line(10), asked=everywhere)
    far = detection_of(line(12), line(10), asked=everywhere)
    assert (near.precision, near.recall, near.f1, near.iou) == (1, 1, 1, 0)
    assert (far.precision, far.recall, far.f1) == (0, 0, 0)
    exact = detection_of(line(10), line(10), asked=everywhere)
    assert exact.iou == 1


def test_faint_damage_counts_neither_when_found_nor_when_missed() -> None:
    faint = np.ones((30, 30), bool)
    faint[10] = False
    for found in (line(10), np.zeros((30, 30), bool)):
        figures = detection_of(found, line(10), asked=faint)
        assert (figures.found, figures.true) == (0, 0)


def test_counts_add_up_over_photos() -> None:
    everywhere = np.ones((30, 30), bool)
    half = detection_of(line(10), line(10) | line(20), asked=everywhere)
    whole = detection_of(line(10), line(10), asked=everywhere)
    assert (half + whole).recall == pytest.approx(2 / 3)
    assert Detection().f1 == 1


def test_repairs_are_measured_inside_the_mask_and_at_its_rim() -> None:
    clean = gray_picture(30, 30)
    true = np.zeros((30, 30), bool)
    true[8:20, 8:20] = True
    before = clean.copy()
    before[true] = 0
    result = clean.copy()
    result[12:16, 12:16] = clean[12:16, 12:16] - 10  # in the middle
    figures = repair_of(result, clean, before, true, used=true)
    assert figures.psnr == pytest.approx(-10 * np.log10(100 * 16 / 144 / 255**2))
    assert figures.rim_psnr == 150
    assert figures.changed == 0
    result[0, 0] += 1
    assert repair_of(result, clean, before, true, used=true).changed == 1
    assert repair_of(clean, clean, before, true, used=true).ssim == pytest.approx(1)
    assert (figures + Repair()).psnr == figures.psnr


def test_pairs_are_seeded_and_differ_only_inside_their_masks() -> None:
    photo = gray_picture(64, 80)
    for make in (iter_pairs, iter_scratched):
        pairs, again = list(make(photo, 2)), list(make(photo, 2))
        for pair, other in zip(pairs, again, strict=True):
            assert np.array_equal(pair.picture, other.picture)
            assert np.array_equal(pair.picture[~pair.mask], pair.clean[~pair.mask])
        assert not np.array_equal(pairs[0].mask, pairs[1].mask)


def test_a_scan_is_soft_and_grainy_and_differs_from_its_clean_picture_in_damage_only() -> None:
    photo = np.full((64, 80, 3), 128, np.uint8)
    for scan, sharp in zip(iter_scans(photo, 3), iter_scratched(photo, 3), strict=True):
        assert np.array_equal(scan.mask, sharp.mask)
        assert 4.5 < scan.clean.std() < 5.5
        change, before = (np.abs(p.picture.astype(int) - p.clean) for p in (scan, sharp))
        assert not change[~grow(scan.mask, 4)].any()  # the blur reaches four pixels
        assert 0 < change.max() < before.max()
    first, second = (scan.clean for scan in iter_scans(photo, 2))
    assert not np.array_equal(first, second)


def test_each_photo_has_damage_of_its_own() -> None:
    photo = gray_picture(64, 80)
    for make in (iter_pairs, iter_scratched, iter_scans):
        first, second = (next(iter(make(photo, 1, number))) for number in (0, 1))
        assert not np.array_equal(first.mask, second.mask)


def test_each_damaged_pixel_counts_for_the_kind_that_was_drawn_last() -> None:
    photo = gray_picture(64, 80)
    for pair in iter_pairs(photo, 8):
        assert np.array_equal(sum(mask.astype(int) for mask in pair.kinds.values()), pair.mask)


def test_the_figures_of_a_kind_are_of_its_own_pixels() -> None:
    clean = gray_picture(30, 30)
    kind, elsewhere, faint = line(10), line(20), np.ones((30, 30), bool)
    faint[:, 15:] = False
    before = clean.copy()
    before[kind | elsewhere] = clean[kind | elsewhere] - 20
    after = before.copy()
    after[kind] = clean[kind] - 2
    figures = kind_figures_of(kind, line(11), clean, before, after, asked=faint)
    assert figures.recall == 1
    assert (figures.pictures, figures.true) == (1, 13)
    assert figures.gain == pytest.approx(20)
    missed = kind_figures_of(kind, line(12), clean, before, before, asked=faint)
    assert (missed.seen, missed.gain) == (0, 0)
    assert (figures + missed).recall == 0.5
    assert kind_figures_of(kind, kind, clean, before, clean, asked=faint).gain == 150


def test_a_network_that_finds_nothing_and_fills_in_gray_gets_what_it_deserves(
    tmp_path: Path,
) -> None:
    write_photo(Photo(gray_picture(64, 80)), tmp_path / "a.png")
    report = evaluate_damage(stage_of(), tmp_path, draws=1)
    assert report.photos == report.pairs == 1
    sharp, soft, _ = report.detection.values()
    assert sharp.true != soft.true  # a blur hides faint pixels and widens the rest
    assert all(d.recall < 0.2 for d in report.detection.values())
    assert report.false_share["photos"] == 0
    assert report.clean_psnr == 150
    assert set(report.by_photo) == {"a.png"}
    assert report.by_photo["a.png"].scratches == sharp
    assert {"photos", "text", "wires", "branches", "halftone"} <= set(report.false_share)
    names = {
        f"{m}, {k} mask" for m in ("restora", "Telea", "Navier-Stokes") for k in ("true", "found")
    }
    assert set(report.repair) == {"nothing", *names}
    assert set(report.scratch_repair) == set(report.repair)
    for figures in (*report.repair.values(), *report.scratch_repair.values()):
        assert figures.changed == 0
    json.dumps(report.as_dict())


def test_a_photo_that_is_repainted_although_undamaged_is_named(tmp_path: Path) -> None:
    write_photo(Photo(gray_picture(64, 80)), tmp_path / "a.png")
    flower = gray_picture(64, 80)
    flower[20:40, 30:50] = MAGENTA  # which the network takes for damage
    write_photo(Photo(flower), tmp_path / "flower.png")
    report = evaluate_damage(stage_of(), tmp_path, draws=1)
    assert report.by_photo["a.png"].false_share == 0
    figures = report.by_photo["flower.png"]
    assert figures.false_share == pytest.approx(22 * 22 / (64 * 80))  # a pixel wider on each side
    error = np.square(flower[19:41, 29:51].astype(float) - FILLED).sum()
    assert figures.clean_psnr == pytest.approx(-10 * np.log10(error / flower.size / 255**2))
    assert report.clean_psnr == figures.clean_psnr
    assert report.false_share["photos"] == figures.false_share / 2


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """A photo, two places of damage of 9 pixels, and a strip of which nobody can tell."""
    levels = np.zeros((40, 48), np.uint8)
    levels[10:13, 10:13] = levels[10:13, 30:33] = 255
    levels[20:24] = 128
    (tmp_path / "marked").mkdir()
    write_photo(Photo(gray_picture(40, 48)), tmp_path / "marked/old.png")
    write_photo(Photo(levels), tmp_path / "marked/old_mask.png")
    return tmp_path / "marked"


def test_real_damage_is_found_by_places_and_pixels_and_what_is_unsure_counts_nowhere(
    marked: Path,
) -> None:
    (photo,) = iter_marked(marked)
    assert (photo.name, photo.picture.shape) == ("old", (40, 48, 3))
    found = np.zeros((40, 48), bool)
    found[10, 10:13] = True  # a third of the first place: its neighbors lie within one pixel
    found[20:24] = True  # unsure
    found[30, 5:11] = True  # wrong
    figures = figures_of(photo, found, found)
    assert (figures.places, figures.found_places) == (2, 0)
    assert figures.detection.recall == pytest.approx(6 / 18)
    assert figures.detection.precision == pytest.approx(3 / 9)
    wider = found.copy()
    wider[11, 10:13] = True
    assert figures_of(photo, found, wider).found_places == 1


def test_a_photo_with_real_damage_needs_a_mask_of_its_size(marked: Path) -> None:
    write_photo(Photo(gray_picture(20, 20)), marked / "old_mask.png")
    with pytest.raises(OptionError, match="the size of its photo, 48 x 40, it has 20 x 20"):
        list(iter_marked(marked))
    (marked / "old_mask.png").unlink()
    with pytest.raises(OptionError, match=r"needs a mask of its damage, old_mask\.png"):
        list(iter_marked(marked))


def test_masks_without_their_photos_are_an_error(marked: Path) -> None:
    (marked / "old.png").unlink()
    with pytest.raises(OptionError, match="there are only masks in"):
        list(iter_marked(marked))


def test_the_command_prints_a_table_and_writes_figures(tmp_path: Path, marked: Path) -> None:
    write_networks(tmp_path)
    (tmp_path / "clean").mkdir()
    write_photo(Photo(gray_picture(40, 40)), tmp_path / "clean" / "a.png")
    result = run(
        tmp_path, "evaluate", "--damage", "all", "--clean", "clean", "--draws", 1,
        "--backend", "cpu", "--damage-detector", "marks.onnx", "--damage-repairer", "filler.onnx",
        "--marked", marked, "-o", "out.json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "| repaired by | PSNR inside |" in result.stdout
    assert "| old | 2 | 0 | 0.00 | 1.00 |" in result.stdout
    assert json.loads((tmp_path / "out.json").read_text())["photos"] == 1


def test_only_the_evaluation_of_damage_has_photos_of_its_own(tmp_path: Path) -> None:
    result = run(tmp_path, "evaluate")
    assert result.returncode == 2
    assert "needs a folder of clean photos (--clean)" in result.stderr
    result = run(tmp_path, "evaluate", "--clean", ".", "--marked", ".")
    assert result.returncode == 2
    assert "--marked needs --damage scratches or --damage all" in result.stderr


def test_a_report_survives_json_and_its_table_shows_f1_with_and_without_tolerance() -> None:
    everywhere = np.ones((30, 30), bool)
    aside = detection_of(line(11), line(10), asked=everywhere)
    right = detection_of(line(20), line(20), asked=everywhere)
    repair = {"nothing": Repair(4, 9.0)}
    marked = {"old": MarkedFigures(4, 3, aside + right)}
    kinds = {"scratch": KindFigures(2, 40, 10, 100.0, 10.0)}
    photos = {
        "fly.png": PhotoFigures(aside, 0.0025, 36.25),
        "lamp.png": PhotoFigures(Detection(), 0.0, 150.0),
    }
    report = DamageReport(
        1, 2, {"lines": aside + right}, repair, {}, {}, 1, 1, marked, kinds, photos
    )
    again = DamageReport.from_dict(json.loads(json.dumps(report.as_dict())))
    assert again == report
    assert "| lines | 1.000 | 1.000 | 1.000 | 0.500 |" in format_tables(again)
    assert "| old | 4 | 3 | 1.00 | 1.00 |" in format_tables(again)
    assert "| single scratches | 2 | 100.0% | 25% | +10.0 dB |" in format_tables(again)
    assert "| fly.png | 1.000 | 1.000 | 1.000 | 0.25% | 36.2 dB |" in format_tables(again)
    assert "| lamp.png | 1.000 | 1.000 | 1.000 | 0.00% | unchanged |" in format_tables(again)
    assert "reach 36.2 dB or more" in format_tables(again)
