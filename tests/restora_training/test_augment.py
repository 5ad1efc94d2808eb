"""More variety from few photos."""

import numpy as np

from restora_training.data.augment import jitter_color, shrink_photo

GRAY = np.full((64, 48, 3), 128, np.uint8)


def test_color_jitter_keeps_shape_and_range_and_is_seeded() -> None:
    out = jitter_color(GRAY, np.random.default_rng(0))
    assert out.shape == GRAY.shape
    assert out.dtype == np.uint8
    assert np.array_equal(out, jitter_color(GRAY, np.random.default_rng(0)))
    assert not np.array_equal(out, GRAY)


def test_a_smaller_photo_has_the_share_of_the_sides() -> None:
    assert shrink_photo(GRAY, 0.5).shape == (32, 24, 3)
    assert shrink_photo(GRAY, 1) is GRAY
