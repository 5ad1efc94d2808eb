"""A photo is looked at in two sizes, and both have a say."""

from __future__ import annotations

import numpy as np
import pytest

from damage_fakes import detector_artifact, gray_picture
from fakes import open_on_cpu
from restora.backends.base import Batch
from restora.damage.networks import DamageFinder
from restora.damage.scales import join_sizes, reduce_photo
from restora.image import Photo


@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((960, 700), (384, 280)),
        ((400, 1600), (160, 640)),
        ((576, 300), (384, 200)),
        ((900, 1), (384, 1)),
    ],
)
def test_a_photo_is_reduced_by_at_most_2_5_and_to_at_least_384_pixels(
    size: tuple[int, int], reduced: tuple[int, int]
) -> None:
    smaller = reduce_photo(Photo(gray_picture(*size)))
    assert smaller is not None
    assert smaller.pixels.shape[:2] == reduced


def test_a_small_photo_is_not_reduced() -> None:
    assert reduce_photo(Photo(gray_picture(575, 300))) is None
    assert reduce_photo(Photo(gray_picture(1, 1))) is None


def test_a_reduced_photo_keeps_its_depth_and_is_opaque() -> None:
    pixels = np.full((700, 20), 40_000, np.uint16)
    smaller = reduce_photo(Photo(pixels, alpha=np.zeros_like(pixels)))
    assert smaller is not None
    assert smaller.pixels.dtype == np.uint16
    assert (smaller.pixels == 40_000).all()
    assert smaller.alpha is None


def test_equal_probabilities_stay_and_opposite_ones_cancel() -> None:
    levels = np.arange(256, dtype=np.uint8)[None].repeat(300, 0)
    assert np.abs(join_sizes(levels, levels).astype(int) - levels).max() <= 2
    far = levels[:, ::-1].copy()
    far[::5] = 0  # in lines of four pixels
    opposite = join_sizes(levels, far)[far > 0]
    assert np.abs(opposite.astype(int) - 128).max() <= 3


def test_the_reduced_size_is_enlarged_smoothly() -> None:
    near = np.full((600, 10), 128, np.uint8)
    far = np.zeros((240, 4), np.uint8)
    far[120:] = 255
    joined = join_sizes(near, far)
    assert joined.shape == near.shape
    assert np.diff(joined[:, 5].astype(int)).min() >= 0
    assert joined[0, 5] < 30
    assert joined[-1, 5] > 225


def test_the_reduced_size_has_no_say_in_a_speck() -> None:
    near = np.zeros((600, 500), np.uint8)
    near[100:108, 200:208] = 200  # a speck of 8 pixels
    near[300:303, 200:209] = 200  # longer: no speck
    near[400:404, 300:304] = 90  # too unsure
    joined = join_sizes(near, np.zeros((240, 200), np.uint8))
    assert (joined[100:108, 200:208] == 200).all()
    assert joined.max() == 200
    assert joined[109:].max() < 40
    sure = join_sizes(near, np.full((240, 200), 255, np.uint8))
    assert (sure[100:108, 200:208] > 240).all()


def test_what_is_wide_is_decided_at_the_reduced_size() -> None:
    near = np.zeros((600, 500), np.uint8)
    far = np.zeros((240, 200), np.uint8)
    far[20:40, 20:40] = 200  # 50 pixels at the photo's own size
    far[100:107, 20:180] = 255  # a band of 17 pixels
    far[150:170, 20:40] = 120  # too unsure
    joined = join_sizes(near, far)
    assert (joined[55:95, 55:95] == 200).all()
    assert joined[255:262, 60:400].max() < 150
    assert joined[380:420, 60:90].max() < 60


def test_what_only_the_photos_own_size_shows_is_half_as_sure() -> None:
    class OnlyOf:
        """Sees damage everywhere in tiles whose shorter side is this, and nothing in others."""

        info, limits = (
            open_on_cpu(detector_artifact()).info,
            open_on_cpu(detector_artifact()).limits,
        )

        def __init__(self, width: int) -> None:
            self.width = width

        def run(self, batch: Batch) -> Batch:
            found = min(batch.shape[1:3]) == self.width  # it is shown turned, too
            return np.full((*batch.shape[:3], 1), 255 * found, np.uint8)

    photo = Photo(gray_picture(960, 40))
    for width, low, high in ((40, 100, 155), (16, 255, 255)):  # of the photo; of the reduced one
        found = DamageFinder(OnlyOf(width)).find(photo)  # type: ignore[arg-type]
        assert low <= int(np.median(found)) <= high, width
