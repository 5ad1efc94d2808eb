"""Correction of colors: faded prints gain, good and gray pictures stay, nothing shows bands."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from restora.color import ColorCorrection, correct_color, correct_photo, find_correction
from restora.image import Photo


def scene(seed: int = 0, side: int = 96) -> np.ndarray:
    """A colorful picture from black to white: smooth random colors, float in 0..1."""
    rng = np.random.default_rng(seed)
    small = rng.random((8, 8, 3)).astype(np.float32)
    large = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    low, high = large.min((0, 1)), large.max((0, 1))
    return np.asarray((large - low) / (high - low), np.float32)


def eight_bits(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def faded(picture: np.ndarray) -> np.ndarray:
    low, high = np.array([0.30, 0.22, 0.15]), np.array([0.92, 0.85, 0.70])
    return low + (high - low) * picture


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("mode", ["balance", "unfade"])
@pytest.mark.parametrize("seed", range(4))
def test_a_picture_that_has_not_faded_stays_as_it_is(mode: str, seed: int) -> None:
    pixels = eight_bits(scene(seed))
    correction = find_correction(pixels, mode)  # type: ignore[arg-type]
    assert not correction.changes
    assert correct_color(pixels, correction) is pixels


@pytest.mark.parametrize("seed", range(4))
def test_a_faded_print_comes_closer_to_what_it_was(seed: int) -> None:
    clean = eight_bits(scene(seed))
    print_ = eight_bits(faded(scene(seed)))
    unfaded = correct_color(print_, find_correction(print_, "unfade"))
    balanced = correct_color(print_, find_correction(print_, "balance"))
    before = difference(clean, print_)
    assert difference(clean, unfaded) < 0.35 * before
    assert difference(clean, balanced) < before


def test_balance_removes_the_cast_and_keeps_the_contrast() -> None:
    print_ = eight_bits(faded(scene()))
    balanced = correct_color(print_, find_correction(print_, "balance"))

    def cast(pixels: np.ndarray) -> float:
        return float(np.ptp(np.percentile(pixels.reshape(-1, 3), 99.5, axis=0)))

    assert cast(balanced) < 0.3 * cast(print_)
    gray = [cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).std() for pixels in (print_, balanced)]
    assert gray[1] == pytest.approx(gray[0], rel=0.1)


@pytest.mark.parametrize("tone", [(1.0, 1.0, 1.0), (1.0, 0.85, 0.65)])
def test_gray_and_sepia_stay_gray_and_sepia(tone: tuple[float, ...]) -> None:
    level = scene().mean(2, keepdims=True) * 0.5 + 0.25
    print_ = eight_bits(level * np.array(tone))
    assert not find_correction(print_, "balance").changes
    unfaded = correct_color(print_, find_correction(print_, "unfade"))
    assert unfaded.std() > 1.3 * print_.std()
    if tone == (1.0, 1.0, 1.0):
        assert np.ptp(unfaded.astype(int), axis=2).max() == 0
    else:
        middle = unfaded.reshape(-1, 3).mean(0)
        assert middle[0] > middle[1] > middle[2]


def test_a_gray_picture_of_one_channel_is_corrected_like_one_of_three() -> None:
    level = eight_bits(scene().mean(2) * 0.5 + 0.25)
    one = correct_color(level, find_correction(level, "unfade"))
    color = np.repeat(level[..., None], 3, 2)
    three = correct_color(color, find_correction(color, "unfade"))
    assert one.shape == level.shape
    assert np.array_equal(one, three[..., 0])


def test_16_bits_are_corrected_with_all_their_levels() -> None:
    values = np.clip(faded(scene()), 0, 1)
    deep = np.rint(values * 65535).astype(np.uint16)
    correction = find_correction(deep, "unfade")
    made = correct_color(deep, correction)
    assert made.dtype == np.uint16
    exact = correction.curve(0, deep[..., 0] / 65535) * 65535
    assert np.abs(made[..., 0] - exact).max() <= 0.5 + 1e-6


def test_stretched_ramps_of_8_bits_show_no_bands() -> None:
    ramp = np.tile(np.linspace(0.3, 0.7, 512, dtype=np.float32), (64, 1))
    pixels = eight_bits(ramp)
    correction = ColorCorrection((0.3,) * 3, (0.7,) * 3, 0.02, 0.97, 1.0)
    made = correct_color(pixels, correction)
    exact = correction.curve(0, pixels / 255) * 255
    # means over places, as the eye sees them, follow the curve; without dither they would jump
    assert np.abs(made.mean(0) - exact[0]).max() < 0.3
    # 103 levels become all those that they are stretched over
    assert len(np.unique(made)) == made.max() - made.min() + 1 > 2 * len(np.unique(pixels))


def test_curves_never_decrease_and_are_not_steeper_than_three() -> None:
    rng = np.random.default_rng(0)
    levels = np.linspace(0, 1, 1001)
    for _ in range(30):
        low = rng.uniform(0.1, 0.5, 3)
        picture = eight_bits(low + rng.uniform(0.02, 0.5) * scene())
        correction = find_correction(picture, "unfade")
        for channel in range(3):
            steps = np.diff(correction.curve(channel, levels))
            assert steps.min() >= 0
            inside = (levels[:-1] > correction.black[channel]) & (
                levels[1:] < correction.white[channel]
            )
            assert (steps[inside] <= 3.001 / 1000).all()


@pytest.mark.parametrize("mode", ["balance", "unfade"])
def test_clipped_highlights_and_shadows_stay_flat(mode: str) -> None:
    values = scene() * np.array([1.3, 1.3, 0.6])
    values[:16] = [1.0, 1.0, 0.6]
    values[-16:] = 0
    pixels = eight_bits(values)
    correction = find_correction(pixels, mode)  # type: ignore[arg-type]
    assert correction.strength > 0.5
    made = correct_color(pixels, correction)
    for rows in (made[:16], made[-16:]):
        assert np.ptp(rows.reshape(-1, 3), axis=0).max() <= 3


def test_a_blank_page_stays_blank() -> None:
    page = np.full((32, 32, 3), 255, np.uint8)
    assert np.ptp(correct_color(page, find_correction(page, "unfade"))) <= 3


def test_a_picture_of_one_level_and_of_one_pixel_can_be_corrected() -> None:
    for pixels in (np.full((1, 1, 3), 90, np.uint8), np.full((5, 7), 200, np.uint8)):
        made = correct_color(pixels, find_correction(pixels, "unfade"))
        assert made.shape == pixels.shape


def test_transparency_and_metadata_stay() -> None:
    pixels = eight_bits(faded(scene()))
    alpha = np.full(pixels.shape[:2], 7, np.uint8)
    photo, correction = correct_photo(Photo(pixels, alpha, format="PNG"), "unfade")
    assert correction.changes
    assert photo.alpha is alpha
    assert photo.format == "PNG"
    assert correction.as_row()["changed"] is True
    assert ColorCorrection().as_row() == {"changed": False, "strength": 0.0}
