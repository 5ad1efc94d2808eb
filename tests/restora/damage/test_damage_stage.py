"""The stage: what is found is repaired, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from damage_fakes import FILLED, MAGENTA, detector_artifact, gray_picture, stage_of
from fakes import NearestSession, open_on_cpu
from restora.artifact.tensors import HIDDEN_LEVEL, SEEN_LEVEL
from restora.backends.base import Batch, Session
from restora.damage import DamageOptions
from restora.damage.networks import DamageFinder, PhotoRepairer
from restora.damage.tiles import TILE_PX
from restora.errors import OptionError, ShapeError
from restora.image import Photo, write_photo


def scratched(height: int = 60, width: int = 90) -> tuple[Photo, np.ndarray]:
    """A photo with a scratch, and the pixels that are repaired: one more on each side."""
    pixels = gray_picture(height, width)
    pixels[20:22, 5 : width - 5] = MAGENTA
    mask = np.zeros((height, width), bool)
    mask[19:23, 4 : width - 4] = True
    return Photo(pixels), mask


def test_damage_is_repaired_and_all_other_pixels_stay_as_they_are() -> None:
    photo, mask = scratched()
    repaired, outcome = stage_of().repair(photo)
    assert (repaired.pixels[mask] == FILLED).all()
    assert np.array_equal(repaired.pixels[~mask], photo.pixels[~mask])
    assert outcome.mask is not None
    assert np.array_equal(outcome.mask, mask)
    assert outcome.as_row() == {
        "status": "repaired",
        "share": round(mask.mean(), 6),
        "pixels": int(mask.sum()),
        "regions": 1,
        "faces_left": 0,
    }


def test_a_photo_without_damage_is_returned_itself() -> None:
    photo = Photo(gray_picture(40, 50))
    repaired, outcome = stage_of().repair(photo)
    assert repaired is photo
    assert (outcome.status, outcome.pixels, outcome.share) == ("clean", 0, 0.0)


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (TILE_PX + 90, 2 * TILE_PX + 40)])
def test_tiles_find_and_repair_what_a_whole_photo_would(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    pixels = gray_picture(*size)
    pixels[rng.random(size) < 0.02] = MAGENTA
    middle = size[0] // 2
    pixels[max(0, middle - 5) : middle + 6] = MAGENTA  # crosses all seams, also of a reduced photo
    options = DamageOptions(max_share=1)
    repaired, outcome = stage_of(options).repair(Photo(pixels))
    if outcome.mask is None:  # of one pixel: fewer than count as damage
        assert size == (1, 1)
        return
    assert (repaired.pixels[outcome.mask] == FILLED).all()
    assert np.array_equal(repaired.pixels[~outcome.mask], pixels[~outcome.mask])
    assert outcome.mask[middle].all()


def test_a_large_print_is_never_seen_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = gray_picture(3 * TILE_PX, 40)
    pixels[95:106, 5:30] = pixels[1395:1406, 5:30] = MAGENTA
    stage = stage_of()
    assert stage.finder is not None
    shapes: dict[str, list[tuple[int, ...]]] = {"find": [], "repair": []}
    for name, session in (("find", stage.finder.session), ("repair", stage.repairer.session)):

        def run(batch: Batch, name: str = name, inner: Session = session) -> Batch:
            shapes[name].append(batch.shape)
            return type(inner).run(inner, batch)

        monkeypatch.setattr(session, "run", run)
    stage.repair(Photo(pixels))
    assert max(shape[1] for shape in shapes["find"] + shapes["repair"]) <= TILE_PX
    assert len(shapes["find"]) > 2
    # tiles without damage are not computed
    assert len(shapes["repair"]) == 2


def test_gray_photos_stay_gray_and_photos_of_16_bits_keep_them() -> None:
    drawn = np.zeros((40, 50), bool)
    drawn[5:9, 5:9] = True
    rng = np.random.default_rng(0)
    for shape in ((40, 50), (40, 50, 3)):
        deep = rng.integers(0, 65536, shape, np.uint16)
        stage = stage_of(DamageOptions(find="off", mask=drawn))
        repaired, _ = stage.repair(Photo(deep))
        assert repaired.pixels.dtype == np.uint16
        assert np.array_equal(repaired.pixels[~drawn], deep[~drawn])
        assert (repaired.pixels[drawn] == FILLED * 257).all()


def test_transparency_stays_and_what_cannot_be_seen_is_not_repaired() -> None:
    photo, mask = scratched()
    alpha = np.full(mask.shape, 255, np.uint8)
    alpha[:, :40] = 0
    photo = Photo(photo.pixels, alpha)
    repaired, outcome = stage_of().repair(photo)
    assert repaired.alpha is not None
    assert np.array_equal(repaired.alpha, alpha)
    assert outcome.mask is not None
    assert np.array_equal(outcome.mask, mask & (alpha > 0))


def test_a_mask_is_added_to_what_is_found_or_taken_alone() -> None:
    photo, found = scratched()
    drawn = np.zeros(found.shape, bool)
    drawn[50:55, 10:20] = True
    _, both = stage_of(DamageOptions(mask=drawn)).repair(photo)
    _, alone = stage_of(DamageOptions(find="off", mask=drawn)).repair(photo)
    assert both.mask is not None
    assert alone.mask is not None
    assert np.array_equal(both.mask, found | drawn)
    assert np.array_equal(alone.mask, drawn)
    assert both.regions == 2


def test_what_shines_through_counts_in_wide_damage_and_not_where_a_mask_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = gray_picture(160, 220)
    pixels[20:23, 10:200] = pixels[60:100, 30:90] = MAGENTA
    drawn = np.zeros(pixels.shape[:2], bool)
    drawn[60:80, 30:90] = drawn[120:150, 10:90] = True
    stage = stage_of(DamageOptions(mask=drawn, max_share=1))
    seen: list[Batch] = []
    session = stage.repairer.session

    def run(batch: Batch) -> Batch:
        seen.append(batch)
        return type(session).run(session, batch)

    monkeypatch.setattr(session, "run", run)
    stage.repair(Photo(pixels))
    (batch,) = seen
    levels = batch[0, ..., 3]
    assert (levels[20:23, 10:200] == HIDDEN_LEVEL).all()  # thin
    assert (levels[85:98, 35:85] == SEEN_LEVEL).all()  # wide
    assert (levels[:160, :220][drawn] == HIDDEN_LEVEL).all()
    assert (levels[30:55] == 0).all()


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    write_photo(Photo(np.zeros((20, 30), np.uint8)), tmp_path / "mask.png")
    stage = stage_of(DamageOptions(mask=tmp_path / "mask.png"))
    with pytest.raises(ShapeError, match="must have the size of the photo, 90 x 60, got 30 x 20"):
        stage.repair(scratched()[0])


def test_an_empty_mask_repairs_nothing_and_a_white_one_is_too_much() -> None:
    photo, _ = scratched()
    empty = np.zeros((60, 90), bool)
    repaired, outcome = stage_of(DamageOptions(find="off", mask=empty)).repair(photo)
    assert repaired is photo
    assert outcome.status == "clean"
    repaired, outcome = stage_of(DamageOptions(find="off", mask=~empty)).repair(photo)
    assert repaired is photo
    assert (outcome.status, outcome.pixels) == ("refused", 0)
    assert outcome.reason is not None
    assert "100% of the photo is damaged, more than 25% is not repaired" in outcome.reason


def test_a_photo_that_is_mostly_damage_is_left_as_it_is() -> None:
    pixels = gray_picture(60, 90)
    pixels[:40] = MAGENTA
    repaired, outcome = stage_of().repair(Photo(pixels))
    assert np.array_equal(repaired.pixels, pixels)
    assert outcome.as_row()["status"] == "refused"
    _, outcome = stage_of(DamageOptions(max_share=0.8)).repair(Photo(pixels))
    assert outcome.status == "repaired"


def test_scratches_alone_leave_a_missing_part_alone() -> None:
    pixels = gray_picture(120, 120)
    pixels[10:12, 10:100] = MAGENTA
    pixels[60:80, 60:85] = MAGENTA
    _, outcome = stage_of(DamageOptions(find="scratches")).repair(Photo(pixels))
    assert outcome.mask is not None
    assert outcome.mask[10:12, 10:100].all()
    assert not outcome.mask[50:].any()


def test_a_damaged_face_is_left_to_the_face_network_unless_its_pixels_were_drawn() -> None:
    photo, mask = scratched()
    boxes = [(0.0, 10.0, 40.0, 30.0)]
    _, outcome = stage_of().repair(photo, find_faces=lambda _: boxes)
    assert outcome.faces_left == 1
    assert outcome.mask is not None
    assert not outcome.mask[:, :40].any()
    assert np.array_equal(outcome.mask[:, 40:], mask[:, 40:])
    drawn = DamageOptions(mask=mask)
    _, outcome = stage_of(drawn).repair(photo, find_faces=lambda _: boxes)
    assert outcome.mask is not None
    assert np.array_equal(outcome.mask, mask)


def test_faces_of_a_photo_without_damage_are_not_looked_for() -> None:
    def find(_photo: Photo) -> list[tuple[float, float, float, float]]:
        raise AssertionError

    stage_of().repair(Photo(gray_picture(40, 50)), find_faces=find)


def test_a_check_between_tiles_ends_the_repair() -> None:
    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        stage_of().repair(scratched()[0], check=stop)


def test_another_kind_of_network_is_refused() -> None:
    with pytest.raises(OptionError, match="tiny is a upsampler, not a repairer"):
        PhotoRepairer(NearestSession())
    with pytest.raises(OptionError, match="not a damage-detector"):
        DamageFinder(NearestSession())


def test_a_session_of_a_repairer_takes_four_channels() -> None:
    repairer = stage_of().repairer.session
    with pytest.raises(ShapeError, match=r"\(batch, height, width, 4\)"):
        repairer.run(np.zeros((1, 32, 32, 3), np.uint8))
    assert open_on_cpu(detector_artifact()).run(np.zeros((2, 8, 16, 3), np.uint8)).shape == (
        2, 8, 16, 1,
    )  # fmt: skip


def test_options_that_cannot_work_are_refused() -> None:
    for choices, words in (
        ({"find": "dust"}, "must be one of 'off', 'scratches', 'all'"),
        ({"find": "off"}, "needs a mask"),
        ({"threshold": 0}, "between 0 and 1"),
        ({"max_share": 2}, r"in 0\.\.1"),
        ({"mask": 3}, "path or an array"),
        ({"detector": 3}, "name or a path"),
    ):
        with pytest.raises(OptionError, match=words):
            DamageOptions(**choices)  # type: ignore[arg-type]


def test_other_options_share_the_networks_of_a_stage() -> None:
    stage = stage_of()
    other = stage.with_options(DamageOptions(find="scratches", threshold=0.9))
    assert other.repairer is stage.repairer
    assert other.finder is stage.finder
    with pytest.raises(OptionError, match="the open damage repairer is None, got 'x'"):
        stage.with_options(DamageOptions(repairer="x"))
    alone = stage_of(DamageOptions(find="off", mask=np.zeros((4, 4), bool)))
    with pytest.raises(OptionError, match="detector is not open"):
        alone.with_options(DamageOptions())


def test_a_tile_is_looked_at_turned_and_mirrored_in_eight_ways_whose_mean_counts() -> None:
    class SecondPixel:
        """Sees damage in the second pixel of whatever it is shown."""

        info, limits = (
            open_on_cpu(detector_artifact()).info,
            open_on_cpu(detector_artifact()).limits,
        )

        def run(self, batch: Batch) -> Batch:
            found = np.zeros((*batch.shape[:3], 1), np.uint8)
            found[:, 0, 1] = 255
            return found

    found = DamageFinder(SecondPixel()).find(Photo(gray_picture(16, 24)))  # type: ignore[arg-type]
    beside = [(0, 1), (1, 0), (0, -2), (1, -1), (-1, 1), (-2, 0), (-1, -2), (-2, -1)]
    assert [int(found[place]) for place in beside] == [32] * 8  # 255 / 8, rounded
    assert int((found > 0).sum()) == 8
