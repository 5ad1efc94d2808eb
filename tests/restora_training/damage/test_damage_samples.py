"""Patches to learn damage from: seeded, exact, and clean pictures that look damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from restora.damage.mask import keep_thin
from restora_calibration.photos import HELD_OUT, TRAINING
from restora_export.reference.damage_detector import Block
from restora_training.damage import samples as patches
from restora_training.damage.batches import iter_batches, stack_samples
from restora_training.damage.lookalikes import LOOKALIKES
from restora_training.damage.losses import LOSSES
from restora_training.damage.plan import Plan
from restora_training.damage.samples import FAINT, PatchSource
from restora_training.damage.train import make_network, train


@pytest.fixture(scope="module", autouse=True)
def one_photo() -> Iterator[None]:
    """Reading all photos takes a second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("restora_training.damage.contents.TRAINING", TRAINING[:1])
        yield


@pytest.fixture(scope="module")
def source(one_photo: None) -> PatchSource:
    return PatchSource(32, seed=5, defects=12)


@pytest.mark.parametrize("for_repair", [False, True])
def test_a_batch_depends_on_its_number_and_the_seed_alone(
    source: PatchSource, for_repair: bool
) -> None:
    first, again = (source.make_batch(7, 3, for_repair=for_repair) for _ in range(2))
    other = source.make_batch(8, 3, for_repair=for_repair)
    for one, same, another in zip(first, again, other, strict=True):
        assert np.array_equal(one.picture, same.picture)
        assert np.array_equal(one.mask, same.mask)
        assert not np.array_equal(one.picture, another.picture)


def test_what_is_to_be_repaired_is_clean_outside_its_mask(source: PatchSource) -> None:
    for sample in source.make_batch(1, 24, for_repair=True):
        assert np.array_equal(sample.picture[~sample.mask], sample.clean[~sample.mask])


def test_a_repairer_learns_to_use_what_shines_through_and_to_do_without_it(
    source: PatchSource,
) -> None:
    samples = source.make_batch(4, 40, for_repair=True)
    assert all((s.mask | ~s.hidden).all() for s in samples)
    wide = [s for s in samples if not np.array_equal(keep_thin(s.mask), s.mask)]
    seen = [s for s in wide if not np.array_equal(s.hidden, s.mask)]
    assert 0 < len(seen) < len(wide)
    assert all(np.array_equal(s.hidden, keep_thin(s.mask)) for s in seen)


def test_faint_damage_is_neither_asked_for_nor_denied(source: PatchSource) -> None:
    masks = [s for s in source.make_batch(2, 40, for_repair=False) if s.mask.any()]
    assert masks
    assert all((s.asked | ~s.mask).all() for s in masks)
    assert any((~s.asked).any() for s in masks)
    assert FAINT > 0


def test_damage_that_a_blur_hides_is_not_asked_for(
    source: PatchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "_add_grain", lambda picture, _rng: picture)
    made = source.make_batch(6, 40, for_repair=False)
    assert sum(s.mask.any() for s in made) > 10
    for s in made:
        change = np.abs(s.picture.astype(int) - s.clean).max(2)
        assert (change[s.mask] >= FAINT).all()


def test_a_blur_changes_the_damaged_and_the_clean_picture_alike() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    pairs = [patches._blur(picture, picture, np.random.default_rng(n)) for n in range(40)]
    assert all(np.array_equal(*pair) for pair in pairs)
    assert 15 < sum(not np.array_equal(one, picture) for one, _ in pairs) < 32


def test_some_samples_have_no_damage(source: PatchSource) -> None:
    samples = source.make_batch(3, 40, for_repair=False)
    without = sum(not s.mask.any() for s in samples)
    assert 0 < without < 30


def test_half_of_the_parts_of_a_defect_are_less_opaque_than_it(source: PatchSource) -> None:
    whole = replace(source._defects[0], opacity=np.full((64, 64), 255, np.uint8))
    rng = np.random.default_rng(3)
    opacities = np.array([whole.cut(32, rng).opacity.max() for _ in range(60)])
    assert 20 < (opacities == 1).sum() < 40
    assert opacities.min() >= 0.6


def test_defects_are_drawn_on_pictures_of_the_side_that_is_asked_for() -> None:
    source = PatchSource(32, seed=1, defects=3, drawn=96)
    assert {drawn.side for drawn in source._defects} == {96}
    assert source.make_batch(0, 2, for_repair=True)[0].picture.shape == (32, 32, 3)


def test_held_out_photos_are_not_among_those_for_training() -> None:
    assert not {photo.path for photo in HELD_OUT} & {photo.path for photo in TRAINING}


@pytest.mark.parametrize("kind", LOOKALIKES)
def test_clean_pictures_that_look_damaged_are_seeded(kind: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    one, same, other = (LOOKALIKES[kind](photo, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.shape == photo.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, photo)


@pytest.mark.parametrize(("part", "echo"), [("detector", 1), ("repairer", 1), ("detector", 2)])
def test_a_training_that_was_stopped_continues_to_the_same_weights(
    part: str, echo: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restora_training.damage.train._SAVE_EVERY", 2)
    choices = {"patch": 32, "batch": 2, "defects": 6, "warmup": 2, "echo": echo}
    whole = Plan(part, steps=4 * echo, **choices)  # type: ignore[arg-type]
    train(whole, tmp_path / "whole")

    class StoppedError(Exception):
        pass

    make = PatchSource.make_batch

    def stopping(self: PatchSource, number: int, size: int, **how: Any) -> object:
        if number == 3:
            raise StoppedError
        return make(self, number, size, **how)

    with monkeypatch.context() as patched:
        patched.setattr(PatchSource, "make_batch", stopping)
        with pytest.raises(StoppedError):
            train(whole, tmp_path / "parts")
    train(whole, tmp_path / "parts")
    one, two = (load_file(tmp_path / name / "network.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_training_can_start_with_earlier_weights(tmp_path: Path) -> None:
    plan = Plan("repairer", steps=1, patch=32, batch=1, defects=2, warmup=1, rate=0.1)
    train(plan, tmp_path / "first")
    still = replace(plan, rate=1e-12)
    train(still, tmp_path / "second", start=tmp_path / "first" / "state.pt")
    train(still, tmp_path / "other")
    first, second, other = (
        load_file(tmp_path / name / "network.safetensors") for name in ("first", "second", "other")
    )
    near = partial(torch.allclose, atol=1e-3)  # the rounding to float16 may differ
    assert all(near(first[key], second[key]) for key in first)
    assert not all(near(first[key], other[key]) for key in first)


def test_a_block_that_is_not_trained_yet_passes_its_input_through() -> None:
    features = torch.rand(2, 4, 8, 8)
    assert torch.equal(Block(4, dilation=2).train()(features), features)


@pytest.mark.parametrize("part", ["detector", "repairer"])
def test_a_network_learns_one_batch(part: str, source: PatchSource) -> None:
    torch.manual_seed(0)
    network = make_network(part).train()  # type: ignore[arg-type]
    samples = source.make_batch(0, 4, for_repair=part == "repairer")
    batch = stack_samples(samples).to(torch.device("cpu"))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(25):
        loss = LOSSES[part](network, batch)  # type: ignore[index]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_workers_make_the_batches_that_the_training_makes_itself(tmp_path: Path) -> None:
    Image.new("RGB", (96, 80), (90, 120, 30)).save(tmp_path / "photo.png")
    plan = Plan("detector", steps=3, patch=32, batch=2, defects=3)
    own, made = (list(iter_batches(plan, [tmp_path], 1, workers=count)) for count in (0, 1))
    assert len(own) == len(made) == 2
    for one, same in zip(own, made, strict=True):
        assert all(torch.equal(getattr(one, f.name), getattr(same, f.name)) for f in fields(one))
