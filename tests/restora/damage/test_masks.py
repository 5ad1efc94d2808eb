"""Masks of damage: what files are accepted, what probabilities and shapes count."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from restora.damage.mask import (
    count_regions,
    decide_mask,
    keep_thin,
    read_mask,
    spare_faces,
)
from restora.errors import ImageError, OptionError, ShapeError
from restora.image import Photo, write_photo


def square(side: int = 40) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[10:20, 10:20] = 255
    return mask


def test_white_is_damage_in_gray_color_and_16_bit_files(tmp_path: Path) -> None:
    gray = square()
    color = np.repeat(gray[..., None], 3, 2)
    for name, pixels in (("gray", gray), ("color", color), ("deep", gray.astype(np.uint16) * 257)):
        write_photo(Photo(pixels), tmp_path / f"{name}.png")
        mask = read_mask(tmp_path / f"{name}.png")
        assert mask.dtype == np.bool_
        assert np.array_equal(mask, gray > 0)


def test_what_is_transparent_in_a_mask_is_no_damage(tmp_path: Path) -> None:
    white = np.full((40, 40), 255, np.uint8)
    write_photo(Photo(white, square()), tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), square() > 0)


def test_a_mask_of_zeros_and_ones_is_black_and_white() -> None:
    assert np.array_equal(read_mask(square() // 255), square() > 0)
    assert not read_mask(square() * 0).any()
    assert np.array_equal(read_mask(square() > 0), square() > 0)


def test_soft_edges_of_a_brush_are_decided_at_the_middle() -> None:
    soft = cv2.GaussianBlur(square(200), (0, 0), 1)
    assert np.array_equal(read_mask(soft), soft >= 128)


def test_a_photo_is_no_mask() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    with pytest.raises(OptionError, match=r"the damage mask must be black and white.*% of it is"):
        read_mask(ramp)


def test_a_colored_picture_is_no_mask(tmp_path: Path) -> None:
    red = np.zeros((20, 20, 3), np.uint8)
    red[:, :10, 0] = 255
    write_photo(Photo(red), tmp_path / "red.png")
    with pytest.raises(OptionError, match=r"red\.png must be black and white.*50% of it has a col"):
        read_mask(tmp_path / "red.png")


def test_another_array_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="bool or uint8 of shape"):
        read_mask(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ShapeError, match="got float64"):
        read_mask(np.zeros((4, 4)))
    with pytest.raises(ImageError, match="gone"):
        read_mask(tmp_path / "gone.png")


def test_damage_needs_sure_pixels_and_goes_on_over_likely_ones() -> None:
    probability = np.zeros((20, 40), np.uint8)
    probability[5, 2:30] = 80  # likely, and connected with what is sure
    probability[5, 10:18] = 200
    probability[16:, 32:] = 250
    probability[5, 30:34] = 72  # not likely
    probability[15, 2:30] = 80  # likely alone
    mask = decide_mask(probability, 0.5)
    assert mask[5, 2:30].all()
    assert not mask[5, 31:].any()
    assert not mask[12:, :30].any()
    assert mask[4, 10]  # the faint rim
    assert not mask[8].any()


def test_fewer_than_three_sure_pixels_are_noise() -> None:
    probability = np.zeros((20, 20), np.uint8)
    probability[12:, :12] = 255
    probability[5, 5:7] = 255
    assert not decide_mask(probability, 0.5)[:10].any()
    probability[5, 7] = 255
    assert decide_mask(probability, 0.5)[:10].sum() == 3 * 5


def test_few_pixels_in_a_whole_photo_must_be_certain() -> None:
    probability = np.zeros((40, 40), np.uint8)
    probability[5:10, 5:34] = probability[10, 5:9] = 200  # 149 pixels
    assert not decide_mask(probability, 0.5).any()
    probability[10, 9] = 200
    assert decide_mask(probability, 0.5, grow_px=0).sum() == 150
    probability[10, 9] = 0
    probability[6, 10:29] = 230
    assert not decide_mask(probability, 0.5).any()
    probability[6, 29] = 230
    assert decide_mask(probability, 0.5, grow_px=0).sum() == 149


def test_a_higher_threshold_finds_less() -> None:
    probability = np.repeat(np.arange(256, dtype=np.uint8)[None], 8, 0)
    found = [decide_mask(probability, threshold).sum() for threshold in (0.2, 0.5, 0.9)]
    assert found[0] > found[1] > found[2] > 0


def test_thin_damage_is_kept_and_wide_damage_is_not() -> None:
    mask = np.zeros((120, 120), bool)
    mask[20:23, :60] = True  # a scratch
    mask[60:100, 40:90] = True  # a missing part
    mask[75:78, 90:] = True  # a scratch that leaves it
    thin = keep_thin(mask)
    assert thin[21, :60].all()
    assert not thin[60:100, 40:90].any()
    assert thin[76, 95:].all()
    assert not (thin & ~mask).any()


def test_a_face_with_much_damage_is_left_out_and_one_with_little_is_not() -> None:
    mask = np.zeros((100, 100), bool)
    mask[10:20, 10:40] = True  # a third of the first face
    mask[60, 60:90] = True  # a thirtieth of the second
    boxes = [(10.0, 10.0, 40.0, 40.0), (60.0, 60.0, 90.0, 90.0), (95.0, 95.0, 140.0, 140.0)]
    left, spared = spare_faces(mask, boxes, 0.1)
    assert spared == 1
    assert not left[:50].any()
    assert left[60, 60:90].all()
    assert mask[10:20, 10:40].all()  # the mask that was given is another one
    assert spare_faces(mask, boxes, 0.5)[1] == 0


def test_places_of_damage_are_counted_by_touching_pixels() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2, 2] = mask[3, 3] = mask[10, 10] = True
    assert count_regions(mask) == 2
    assert count_regions(np.zeros((5, 5), bool)) == 0
