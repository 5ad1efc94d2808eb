"""Damage wider than a tile is repaired from its surroundings at a reduced size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from restora import DamageOptions, Restorer
from restora.damage.deep import Deep, find_deep, repair_deep
from restora.damage.networks import PhotoRepairer
from restora.image import Photo

Array = np.ndarray


def square(side: int, top: int, bottom: int) -> Array:
    mask = np.zeros((side, side), bool)
    mask[top:bottom, top:bottom] = True
    return mask


def picture(height: int, width: int) -> Array:
    """A gradient with fine stripes."""
    rows, columns = np.mgrid[:height, :width]
    stripes = np.where(columns // 4 % 2, 12, -12)
    red = 60 + 120 * rows / height + stripes
    return np.stack((red, red * 0.9, 200 - red * 0.5), 2).astype(np.uint8)


@pytest.fixture(scope="module")
def repairer() -> Iterator[PhotoRepairer]:
    options = DamageOptions(find="off", mask=np.ones((1, 1), bool))
    with Restorer(None, damage=options) as restorer:
        assert restorer.damage is not None
        yield restorer.damage.repairer


def error(result: Array, clean: Array, mask: Array) -> float:
    return float(np.square(result[mask].astype(float) - clean[mask]).mean())


def test_only_pixels_far_from_everything_undamaged_are_deep() -> None:
    assert find_deep(square(400, 100, 220)) is None
    deep = find_deep(square(400, 50, 350))
    assert deep is not None
    assert deep.most == pytest.approx(150, abs=16)
    assert deep.mask[200, 200]
    assert not deep.mask[200, 50 : 50 + 56].any()
    assert deep.mask[200, 50 + 80]


def test_what_lies_outside_of_a_photo_is_not_undamaged() -> None:
    mask = np.zeros((300, 301), bool)
    mask[:, :100] = True
    deep = find_deep(mask)
    assert deep is not None
    assert deep.mask[150, 0]


def test_without_anything_undamaged_nothing_is_deep() -> None:
    assert find_deep(np.ones((300, 300), bool)) is None


def test_what_shines_through_keeps_its_detail_and_what_is_opaque_is_filled() -> None:
    pixels = picture(400, 400)
    mask, opaque = square(400, 50, 350), np.zeros((400, 400), bool)
    opaque[:, 200:] = True
    deep = find_deep(mask)
    assert deep is not None

    def repaint(small: Photo, small_mask: Array, small_opaque: Array) -> Photo:
        new = small.pixels.copy()
        new[small_mask] += 20
        new[small_opaque] = 77
        return Photo(new)

    result = repair_deep(Photo(pixels), mask, opaque & mask, deep, repaint).pixels
    changed = result.astype(int) - pixels
    assert (changed[deep.mask & ~opaque][:, 0] == 20).mean() > 0.9
    assert (result[200, 215:280] == 77).all()
    assert not changed[~deep.mask].any()


def test_a_stain_wider_than_a_tile_is_corrected(repairer: PhotoRepairer) -> None:
    clean = picture(900, 1000)
    mask = np.zeros((900, 1000), bool)
    mask[80:840, 60:900] = True
    stained = clean.copy()
    stained[mask] = np.rint(clean[mask] * 0.6 + np.array([150, 110, 60]) * 0.4)
    result = repairer.repair(Photo(stained), mask).pixels
    assert error(result, clean, mask) < error(stained, clean, mask) / 4
    assert np.array_equal(result[~mask], stained[~mask])


@pytest.mark.parametrize("kind", ["color", "gray", "16 bits"])
def test_a_hole_wider_than_a_tile_takes_the_colors_around_it(
    repairer: PhotoRepairer, kind: str
) -> None:
    clean = np.full((1200, 1200, 3), 150, np.uint8)
    mask = square(1200, 40, 1160)
    torn = clean.copy()
    torn[mask] = 255
    given = (
        torn[..., 0] if kind == "gray" else torn.astype(np.uint16) * 257 if "16" in kind else torn
    )
    result = repairer.repair(Photo(given), mask, hidden=mask).pixels
    levels = result / 257 if result.dtype == np.uint16 else result
    assert np.abs(levels[mask].astype(float) - 150).max() < 12
    assert result.dtype == given.dtype


def test_a_photo_with_hardly_anything_undamaged_is_repaired_without_an_error(
    repairer: PhotoRepairer,
) -> None:
    mask = np.ones((400, 400), bool)
    mask[:8, :8] = False
    result = repairer.repair(Photo(picture(400, 400)), mask).pixels
    assert np.array_equal(result[~mask], picture(400, 400)[~mask])


def test_if_nothing_undamaged_is_left_at_the_reduced_size_the_least_damaged_counts() -> None:
    photo = Photo(picture(400, 400))
    mask = square(400, 0, 400)
    mask[:8, :8] = False
    seen = []

    def repaint(small: Photo, small_mask: Array, _: Array) -> Photo:
        seen.append(small_mask)
        return Photo(small.pixels + 9)

    deep = Deep(mask, 4000.0)
    result = repair_deep(photo, mask, np.zeros_like(mask), deep, repaint).pixels
    (small_mask,) = seen
    assert np.argwhere(~small_mask).tolist() == [[0, 0]]
    assert (result[mask] == photo.pixels[mask] + 9).all()
