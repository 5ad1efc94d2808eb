"""The model of damage: exact masks, seeds, sizes."""

import cv2
import numpy as np
import pytest

from restora_training.damage import (
    DEFECTS,
    AgingRange,
    DamageRange,
    age_photo,
    damage_photo,
    spots,
)
from restora_training.damage.layer import (
    Damaged,
    Layer,
    apply_layer,
    draw_curve,
    wander,
)

SHAPE = (96, 120)


def photo_of(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 180, (*SHAPE, 3), np.uint8)


def draw_until_visible(name: str) -> tuple[np.ndarray, Damaged]:
    """A defect may miss the picture; take the first seed whose defect does not."""
    photo = photo_of()
    for seed in range(50):
        layer = DEFECTS[name](SHAPE, np.random.default_rng(seed))
        damaged = apply_layer(Damaged(photo, np.zeros(SHAPE, bool)), layer)
        if damaged.mask.any():
            return photo, damaged
    raise AssertionError(f"{name} was never visible")


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_changes_what_its_mask_says_and_nothing_else(name: str) -> None:
    photo, damaged = draw_until_visible(name)
    assert damaged.picture.dtype == np.uint8
    assert np.array_equal(damaged.picture[~damaged.mask], photo[~damaged.mask])
    changed = (damaged.picture != photo).any(2)
    # a defect may have the color of what it covers, here and there
    assert changed[damaged.mask].mean() > 0.6
    assert damaged.mask.mean() < 0.75


@pytest.mark.parametrize("name", DEFECTS)
def test_a_seed_decides_a_defect(name: str) -> None:
    first, second = (DEFECTS[name](SHAPE, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.opacity, second.opacity)
    assert np.array_equal(first.color, second.color)


def test_damage_adds_up_and_is_seeded() -> None:
    photo = photo_of()
    ranges = DamageRange({"scratch": 3.0, "dust": 1.0})
    first, second = (damage_photo(photo, np.random.default_rng(2), ranges) for _ in range(2))
    assert np.array_equal(first.picture, second.picture)
    assert np.array_equal(first.mask, second.mask)
    assert np.array_equal(first.picture[~first.mask], photo[~first.mask])
    assert first.mask.any()


def test_no_defects_leave_a_picture_as_it_is() -> None:
    photo = photo_of()
    damaged = damage_photo(photo, np.random.default_rng(2), DamageRange({"fold": 0.0}))
    assert np.array_equal(damaged.picture, photo)
    assert not damaged.mask.any()


def test_an_unknown_defect_is_named() -> None:
    with pytest.raises(ValueError, match="got coffee"):
        DamageRange({"coffee": 1.0})


def test_faint_parts_of_a_defect_are_left_out_of_picture_and_mask() -> None:
    opacity = np.zeros(SHAPE, np.float32)
    opacity[0, 0], opacity[0, 1] = 1 / 17, 1 / 15
    photo = photo_of()
    layer = Layer(opacity, np.full(3, 255.0))
    damaged = apply_layer(Damaged(photo, np.zeros(SHAPE, bool)), layer)
    assert damaged.mask.sum() == 1
    assert damaged.mask[0, 1]
    assert np.array_equal(damaged.picture[0, 0], photo[0, 0])


@pytest.mark.parametrize("width_px", [0.5, 1.0, 2.0, 6.0])
def test_a_curve_covers_its_length_times_its_width(width_px: float) -> None:
    line = draw_curve(SHAPE, np.array([[20.0, 40.5], [100.0, 40.5]]), width_px)
    # OpenCV's antialiased lines are up to half a pixel of the fine grid wider
    assert line[:, 40:80].sum() / 40 == pytest.approx(width_px, abs=0.4)


def test_a_path_has_its_length_and_turns_as_it_is_told() -> None:
    rng = np.random.default_rng(1)
    straight = wander(np.zeros(2), 0.0, 100, 0.0, rng)
    assert np.linalg.norm(straight[-1]) == pytest.approx(100, rel=0.05)
    curled = wander(np.zeros(2), 0.0, 100, 3.0, rng)
    assert np.linalg.norm(curled[-1]) < 90


def test_aging_is_seeded_and_can_be_switched_off() -> None:
    photo = photo_of()
    first, second = (age_photo(photo, np.random.default_rng(2)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, photo)
    never = AgingRange(0, 0, 0, 0, 0, 0, 0)
    assert np.array_equal(age_photo(photo, np.random.default_rng(2), never), photo)


@pytest.mark.parametrize("kind", AgingRange.__dataclass_fields__)
def test_every_kind_of_aging_changes_a_picture(kind: str) -> None:
    ranges = AgingRange(**{name: float(name == kind) for name in AgingRange.__dataclass_fields__})
    aged = age_photo(photo_of(), np.random.default_rng(3), ranges)
    assert (aged != photo_of()).mean() > 0.2


def test_yellowing_takes_blue_most() -> None:
    gray = np.full((*SHAPE, 3), 200, np.uint8)
    aged = age_photo(gray, np.random.default_rng(3), AgingRange(0, 0, 1, 0, 0, 0, 0))
    red, green, blue = aged.reshape(-1, 3).mean(0)
    assert red > green > blue


def test_flakes_are_not_cut_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(spots, "_lay", lambda _plane, flake, _center: drawn.append(flake))
    for seed in range(60):
        DEFECTS["flakes"]((200, 200), np.random.default_rng(seed))
    assert len(drawn) > 100
    assert not any(f[[0, -1]].any() or f[:, [0, -1]].any() for f in drawn)


def test_flakes_are_opaque_and_small() -> None:
    for seed in range(30):
        opacity = DEFECTS["flakes"]((400, 400), np.random.default_rng(seed)).opacity
        assert 0.8 <= opacity.max() <= 1
        _, _, boxes, _ = cv2.connectedComponentsWithStats((opacity > 0).astype(np.uint8))
        assert all(min(box[2], box[3]) <= 80 for box in boxes[1:])


def test_dust_is_sometimes_a_single_speck_and_sometimes_many() -> None:
    counts = []
    for seed in range(40):
        layer = DEFECTS["dust"]((300, 300), np.random.default_rng(seed))
        counts.append(cv2.connectedComponents((layer.opacity > 0).astype(np.uint8))[0] - 1)
    assert min(counts) <= 1
    assert max(counts) >= 30
