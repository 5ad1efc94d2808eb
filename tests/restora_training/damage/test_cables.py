"""Cables: one width from border to border, and what light and cameras do to them."""

from __future__ import annotations

import numpy as np
import pytest

from restora_training.damage.cables import _Group
from restora_training.damage.ink import Ink, sharpen, tint_ink

GRAY = np.full((96, 96, 3), 128, np.uint8)


def draw(lit: Ink | None = None) -> np.ndarray:
    """One nearly upright black cable of 5 pixels."""
    middle, along = np.array([48.0, 48.0]), np.array([0.0, 1.0])
    group = _Group(middle, along, 5.0, 30.0, (0, 0, 0), lit, opacity=1.0, soft=0.5)
    return group.draw(GRAY, np.random.default_rng(4))


def test_a_cable_crosses_the_whole_picture_in_one_width() -> None:
    dark = (draw()[..., 0] < 64).sum(1)
    assert (dark.min(), dark.max()) == (5, 6)


def test_the_sun_lights_one_side_of_a_cable() -> None:
    row = draw(lit=(255, 255, 255))[48, :, 0]
    bright, dark = np.flatnonzero(row > 200), np.flatnonzero(row < 64)
    assert len(bright)
    gaps = bright[:, None] - dark
    nearest = gaps[np.arange(len(bright)), np.abs(gaps).argmin(1)]
    assert len(set(np.sign(nearest))) == 1


def test_haze_moves_ink_toward_the_colors_of_the_picture() -> None:
    picture = np.full((4, 4, 3), (40, 90, 200), np.uint8)
    inks = {tint_ink((20, 20, 20), picture, np.random.default_rng(seed)) for seed in range(40)}
    assert (20, 20, 20) in inks
    for red, green, blue in inks:
        share = (blue - 20) / 180
        assert 0 <= share <= 0.71
        assert (red, green) == pytest.approx((20 + 20 * share, 20 + 70 * share), abs=1)
    assert len(inks) > 10


def test_sharpening_raises_the_contrast_of_edges_alone() -> None:
    assert np.array_equal(sharpen(GRAY, 2.0), GRAY)
    edge = GRAY.copy()
    edge[:, 48:] = 100
    row = sharpen(edge, 1.0)[0, :, 0]
    assert row[47] > 128 > 100 > row[48]
    assert (row[0], row[-1]) == (128, 100)
