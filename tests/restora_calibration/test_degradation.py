"""Facts about the blind degradation."""

import numpy as np

from restora_calibration.degrade import (
    CLEAN_X2,
    FACES,
    MILD,
    Degradation,
    degrade_photo,
    draw_degradation,
)
from restora_calibration.photos import HELD_OUT, TRAINING, read_free_photo

GRAY = np.full((64, 48, 3), 128, np.uint8)


def test_parameters_are_drawn_within_their_ranges() -> None:
    rng = np.random.default_rng(0)
    for ranges in (MILD, FACES):
        draws = [draw_degradation(ranges, rng) for _ in range(200)]
        for name in ("sigma", "shrink", "noise", "quality"):
            low, high = getattr(ranges, name)
            assert all(low <= getattr(draw, name) <= high for draw in draws)


def test_one_seed_gives_one_degradation() -> None:
    photo = read_free_photo(HELD_OUT[0])[:64, :64]
    how = Degradation(1.0, 2, 5, 80)
    first, second = (degrade_photo(photo, how, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == (32, 32, 3)


def test_noise_has_the_stated_strength_and_no_bias() -> None:
    noisy = degrade_photo(GRAY, Degradation(0, 1, 8, None), np.random.default_rng(0))
    difference = noisy.astype(float) - 128
    assert abs(difference.std() - 8) < 0.3
    assert abs(difference.mean()) < 0.3


def test_blur_and_shrinking_keep_a_flat_picture_flat() -> None:
    out = degrade_photo(GRAY, Degradation(2, 3, 0, None), np.random.default_rng(0))
    assert out.shape == (21, 16, 3)
    assert (out == 128).all()


def test_clean_shrinking_adds_nothing() -> None:
    photo = read_free_photo(HELD_OUT[0])[:32, :32]
    out = degrade_photo(photo, CLEAN_X2, np.random.default_rng(0))
    assert np.array_equal(out, degrade_photo(photo, CLEAN_X2, np.random.default_rng(9)))


def test_held_out_photos_are_never_trained_on() -> None:
    assert not {photo.path for photo in HELD_OUT} & {photo.path for photo in TRAINING}
    for photo in (*HELD_OUT, *TRAINING):
        assert photo.license
        height, width = read_free_photo(photo).shape[:2]
        assert height % 2 == width % 2 == 0
