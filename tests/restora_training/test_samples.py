"""What the samples of a recipe are degraded with."""

import numpy as np
import pytest

from restora_calibration.degrade import MILD, Degradation, DegradationRange, draw_degradation
from restora_training.data import samples
from restora_training.data.photos import PhotoSet
from restora_training.data.samples import PatchMaker
from restora_training.recipe_parts import DegradationPart

PHOTO = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)


def test_a_recipe_can_mix_its_own_range_with_mild_and_clean_patches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[DegradationRange] = []

    def draw(ranges: DegradationRange, rng: np.random.Generator) -> Degradation:
        drawn.append(ranges)
        return draw_degradation(ranges, rng)

    monkeypatch.setattr(samples, "draw_degradation", draw)
    part = DegradationPart(
        kind="paper",
        clean_share=0.25,
        mild_share=0.25,
        sigma=(0.2, 4.0),
        noise=(0.0, 15.0),
        quality=(40, 100),
    )
    maker = PatchMaker(PhotoSet(["a"], lambda _: PHOTO), part, scale=2, patch=16, seed=1)
    shrunk = sum(maker.make(step, 0).shrunk for step in range(80))
    own = DegradationRange((0.2, 4.0), (2, 2), (0.0, 15.0), (40, 100))
    mild = DegradationRange(MILD.sigma, (2, 2), MILD.noise, MILD.quality)
    assert set(drawn) == {own, mild}
    # binomial, 80 draws: 3 standard deviations
    assert shrunk == pytest.approx(20, abs=12)
    assert drawn.count(mild) == pytest.approx(20, abs=12)
    assert len(drawn) + shrunk == 80


def test_the_degradation_of_the_paper_reaches_its_whole_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[DegradationRange] = []

    def draw(ranges: DegradationRange, rng: np.random.Generator) -> Degradation:
        drawn.append(ranges)
        return draw_degradation(ranges, rng)

    monkeypatch.setattr(samples, "draw_degradation", draw)
    part = DegradationPart(kind="paper")
    maker = PatchMaker(PhotoSet(["a"], lambda _: PHOTO), part, scale=4, patch=16, seed=1)
    maker.make(0, 0)
    assert drawn == [DegradationRange((0.2, 10.0), (4, 4), (0, 15), (60, 100))]


def test_patches_of_a_run_that_only_downsamples_are_marked_so() -> None:
    part = DegradationPart(kind="shrink")
    maker = PatchMaker(PhotoSet(["a"], lambda _: PHOTO), part, scale=2, patch=16, seed=1)
    assert maker.make(0, 0).shrunk
