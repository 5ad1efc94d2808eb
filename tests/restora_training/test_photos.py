"""The photos of a run: which ones a step uses, and what stays in memory."""

import numpy as np
import pytest

from restora.errors import OptionError
from restora_training.data.photos import Photo, PhotoSet, open_photos
from restora_training.data.samples import PatchMaker
from restora_training.recipe_parts import DegradationPart

PHOTO = np.zeros((10, 10, 3), np.uint8)


def drawn(photos: PhotoSet, step: int, count: int = 200) -> set[int]:
    rng = np.random.default_rng(step)
    return {photos.draw(step, rng) for _ in range(count)}


def test_all_photos_are_drawn_where_they_have_room_in_memory() -> None:
    photos = PhotoSet(list("abcde"), lambda _: PHOTO, largest_bytes=300, cache_bytes=1500)
    assert drawn(photos, 0) == drawn(photos, 1000) == {0, 1, 2, 3, 4}


def test_a_window_goes_through_photos_that_have_no_room_in_memory_together() -> None:
    read: list[int] = []

    def read_photo(index: int) -> Photo:
        read.append(index)
        return PHOTO

    photos = PhotoSet(list("abcde"), read_photo, largest_bytes=300, cache_bytes=700)
    assert drawn(photos, 0) == {0, 1}
    assert drawn(photos, 4) == {1, 2}
    assert drawn(photos, 16) == {4, 0}
    for step in range(20):
        for index in drawn(photos, step):
            photos[index]
    assert read == [0, 1, 2, 3, 4, 0]  # each once


def test_without_a_window_all_photos_are_drawn_at_any_step() -> None:
    photos = PhotoSet(list("abcde"), lambda _: PHOTO, largest_bytes=300, cache_bytes=700)
    assert drawn(photos.without_window(), 0) == {0, 1, 2, 3, 4}


def test_free_photos_that_are_too_small_are_left_out_of_both_sets() -> None:
    training, held_out = open_photos(None, held_out=3, smallest=416, max_broken=0)
    assert held_out.names == ["camera", "grace_hopper"]
    for photos in (training, held_out):
        assert len(photos) > 0
        assert all(min(photos[index].shape[:2]) >= 416 for index in range(len(photos)))
    assert len(open_photos(None, held_out=1, smallest=64, max_broken=0)[1]) == 1
    assert len(open_photos(None, held_out=0, smallest=700, max_broken=0)[1]) == 0
    for held, smallest in ((1, 700), (0, 9000)):
        with pytest.raises(OptionError, match=f"too few free photos have sides of {smallest}"):
            open_photos(None, held_out=held, smallest=smallest, max_broken=0)


def test_a_patch_of_a_smaller_version_shows_more_of_the_photo() -> None:
    rows = np.repeat(np.arange(240, dtype=np.uint8)[:, None], 240, 1)
    photo = np.stack([rows] * 3, 2)

    def extent(shrink: float) -> int:
        maker = PatchMaker(
            PhotoSet(["a"], lambda _: photo),
            DegradationPart(kind="shrink"),
            scale=2,
            patch=80,
            seed=1,
            flip=False,
            shrink=(shrink,),
        )
        clean = maker.make(0, 0).clean * 255
        assert clean.shape == (3, 80, 80)
        return round(float(clean.max() - clean.min()))

    assert extent(1.0) == 79
    assert 155 <= extent(0.5) <= 159


def test_a_photo_that_is_too_small_to_be_shrunk_is_used_at_its_size() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    maker = PatchMaker(
        PhotoSet(["a"], lambda _: photo),
        DegradationPart(kind="shrink"),
        scale=2,
        patch=80,
        seed=1,
        shrink=(0.5,),
    )
    assert maker.make(0, 0).clean.shape == (3, 80, 80)
