"""What grows and looks damaged: wings and leaves keep their shape."""

from __future__ import annotations

import numpy as np
import pytest

from restora_training.damage.growths import _Wing


@pytest.mark.parametrize("seed", range(5))
def test_a_wing_is_as_long_as_asked_and_slim_at_both_ends(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root, angle = np.array([30.0, 40.0]), 0.7
    wing = _Wing(root, angle, 100.0, 0.3, rng)
    sides = np.array([-1.0, 0.0, 1.0])
    assert wing.locate(np.zeros(3), sides) == pytest.approx(np.tile(root, (3, 1)))
    tip = root + 100 * np.array([np.cos(angle), np.sin(angle)])
    assert wing.locate(np.ones(3), sides) == pytest.approx(np.tile(tip, (3, 1)))
    far = np.linspace(0, 1, 101)
    width = np.hypot(*(wing.locate(far, np.ones(101)) - wing.locate(far, -np.ones(101))).T)
    assert width.max() == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_the_veins_of_a_wing_stay_inside_its_rim(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wing = _Wing(np.array([0.0, 0.0]), 0.0, 100.0, 0.4, rng)
    lines = list(wing.iter_lines(2.0, rng))
    assert len(lines) >= 13  # two sides of the rim, a vein and ten cells or side veins
    for path, widths in lines:
        assert len(widths) == len(path) - 1
        assert widths.max() <= 2.0
        along = np.clip(path[:, 0] / 100, 0, 1)
        middle = wing.locate(along, np.zeros(len(path)))
        edge = wing.locate(along, np.ones(len(path)))
        assert (np.abs(path[:, 1] - middle[:, 1]) <= np.abs(edge - middle)[:, 1] + 1e-6).all()
