"""Facts about the stage that runs the networks for damage on whole photos, tried on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restora.damage import stage as stages
from restora.image import Photo
from restora_tools.gpu.damage import _lay_out, measure_damage
from restora_tools.gpu.effort import QUICK
from restora_tools.gpu.places import Places


def test_the_cpu_finds_the_same_as_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORA_PLANS", "restored afterwards")
    places, told = Places(tmp_path, "no card"), list[str]()
    size = (120, 90)
    state = measure_damage(places, told.append, backend="cpu", size=size, effort=QUICK)
    (row,) = places.rows("damage")
    assert state == "done"
    assert (row["photo"], row["mask_overlap"], row["changed_outside"]) == ("120x90", 1.0, 0)
    assert row["precisions"] == {"damage-detector": "fp32", "repairer": "fp32"}
    assert row["mp_per_s"] == pytest.approx(0.0108 / (row["find_s"] + row["repair_s"]), rel=0.05)
    assert "overlap by 100.00%" in told[-1]


def test_a_pixel_that_changes_outside_the_mask_fails_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_PLANS", "restored afterwards")
    repair = stages.DamageStage.repair

    def careless(self: stages.DamageStage, photo: Photo, **how: Any) -> Any:
        made, outcome = repair(self, photo, **how)
        assert outcome.mask is not None
        row, column = np.argwhere(~outcome.mask)[0]
        pixels = made.pixels.copy()
        pixels[row, column, 0] ^= 1
        return replace(made, pixels=pixels), outcome

    monkeypatch.setattr(stages.DamageStage, "repair", careless)
    places = Places(tmp_path, "no card")
    state = measure_damage(places, print, backend="cpu", size=(90, 60), effort=QUICK)
    assert (state, places.rows("damage")[0]["changed_outside"]) == ("failed", 1)


def test_pictures_are_laid_side_by_side_until_the_size_is_full() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    large = _lay_out(picture, (7, 5))
    assert large.shape == (5, 7, 3)
    assert all(
        np.array_equal(large[row, column], picture[row % 2, column % 3])
        for row, column in np.ndindex(5, 7)
    )
