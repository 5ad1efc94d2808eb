"""Planes that a detector learns with, and contents: exact, and of the right kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restora_calibration.photos import TRAINING
from restora_export.reference.damage_detector import DamageDetector, thin_parts
from restora_training.damage.contents import Contents
from restora_training.damage.layer import Photo
from restora_training.damage.strokes import draw_bar, draw_rim, draw_strokes
from restora_training.damage.thin import stack_thin, stack_weights

Draw = Callable[[Photo, np.random.Generator], Photo]


@pytest.fixture(scope="module", autouse=True)
def two_photos() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("restora_training.damage.contents.TRAINING", TRAINING[:2])
        yield


def test_thin_parts_computed_ahead_are_those_that_the_network_computes() -> None:
    pictures = list(np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3), np.uint8))
    tensor = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
    ahead = torch.from_numpy(stack_thin(pictures))
    assert torch.allclose(ahead, thin_parts(tensor), atol=1e-6)  # rounding of float32
    network = DamageDetector((4, 4, 4, 4)).eval()
    with torch.no_grad():
        assert torch.allclose(network.find(tensor, ahead), network(tensor), atol=1e-5)


def test_a_scratch_weighs_as_much_for_each_pixel_as_can_be_and_a_stain_less() -> None:
    mask = np.zeros((90, 160), bool)
    mask[:, 20:23] = True
    mask[:, 80:] = True
    (weights,) = stack_weights([mask])[0]
    assert (weights[:, 20:23] == 1).all()
    assert np.allclose(weights[45, 110:140], 0.2)


def test_contents_of_folders_show_their_photos_alone(tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), (10, 200, 30)).save(tmp_path / "green.png")
    contents = Contents(48, [tmp_path])
    plain = [contents._cut_plain(np.random.default_rng(seed), contents._odds) for seed in range(8)]
    assert any((cut == (10, 200, 30)).all() for cut in plain)
    assert all(cut.std(axis=(0, 1)).max() < 1 for cut in plain)  # one color each


def test_contents_are_seeded_and_no_two_are_alike() -> None:
    contents = Contents(48)
    first, again = (
        [contents.cut(np.random.default_rng([3, number])) for number in range(24)] for _ in range(2)
    )
    assert all(cut.shape == (48, 48, 3) and cut.dtype == np.uint8 for cut in first)
    assert all(np.array_equal(one, same) for one, same in zip(first, again, strict=True))
    assert len({cut.tobytes() for cut in first}) == 24


def test_objects_with_lines_are_drawn_only_where_they_are_asked_for() -> None:
    contents = Contents(48)
    plain, lined = (
        [contents.cut(np.random.default_rng([3, number]), lines=lines) for number in range(24)]
        for lines in (False, True)
    )
    again = contents.cut(np.random.default_rng([3, 5]), lines=True)
    assert np.array_equal(again, lined[5])
    assert not all(np.array_equal(one, other) for one, other in zip(plain, lined, strict=True))


def test_a_rim_lies_on_the_outline_of_its_shape() -> None:
    picture = np.full((40, 40, 3), 120, np.uint8)
    share = np.zeros((40, 40), np.float32)
    share[:, 20:] = 1
    rims = [draw_rim(picture, share, np.random.default_rng(seed)) for seed in range(8)]
    changed = np.any([(rim != picture).any(2) for rim in rims], axis=0)
    assert changed[:, 19:21].any()
    assert not changed[:, :12].any()
    assert not changed[:, 28:].any()


@pytest.mark.parametrize("draw", [draw_strokes, draw_bar])
def test_lines_of_objects_are_seeded(draw: Draw) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    one, same, other = (draw(picture, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
