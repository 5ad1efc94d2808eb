"""Aligned faces, and the places of their components."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restora.errors import OptionError
from restora_training.components import PUBLISHED
from restora_training.data.faces import FaceMaker, read_places
from restora_training.data.photos import PhotoSet, open_photos
from restora_training.recipe_parts import DegradationPart

FACE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
PLACES = dict.fromkeys(PUBLISHED, (100.0, 100.0, 40.0))


def maker_of(
    places: dict[str, dict[str, tuple[float, float, float]]],
    *,
    flip: bool = False,
    components: Sequence[str] = PUBLISHED,
) -> FaceMaker:
    return FaceMaker(
        PhotoSet(["a.png", "b.png", "c.png"], lambda _: FACE),
        DegradationPart(kind="faces"),
        side=64,
        seed=1,
        flip=flip,
        components=components,
        places=places,
    )


def test_places_of_a_table_become_boxes_of_the_face() -> None:
    sample = maker_of(dict.fromkeys(("a.png", "b.png", "c.png"), PLACES)).make(0, 0)
    # (100 - 40 + 1) / 8 .. (100 + 40) / 8; eyes are larger by 1.4
    np.testing.assert_allclose(sample.boxes["mouth"], [7.625, 7.625, 17.5, 17.5])
    np.testing.assert_allclose(sample.boxes["left_eye"], [5.625, 5.625, 19.5, 19.5])


def test_a_missing_place_is_named_before_the_first_step() -> None:
    incomplete = {key: value for key, value in PLACES.items() if key != "mouth"}
    with pytest.raises(OptionError, match=r"lacks mouth of b.png, and others of 1 more faces: mak"):
        maker_of({"a.png": PLACES, "b.png": incomplete})


def test_a_mirrored_face_needs_the_place_of_the_other_eye() -> None:
    table = {key: {"left_eye": PLACES["left_eye"]} for key in ("a.png", "b.png", "c.png")}
    maker_of(table, components=["left_eye"])
    with pytest.raises(OptionError, match=r"lacks right_eye of a.png"):
        maker_of(table, components=["left_eye"], flip=True)


@pytest.mark.parametrize("place", [[1, 2, 0], [1, 2, float("nan")], [600, 2, 5], [1, 2, 1e9]])
def test_a_place_outside_of_the_face_is_refused(tmp_path: Path, place: list[float]) -> None:
    table = tmp_path / "components.json"
    table.write_text(json.dumps({"a.png": {"mouth": place}}))
    with pytest.raises(OptionError, match=r"x and y of mouth must be in a face of 512 pixels"):
        read_places(table)


def test_pictures_that_are_not_square_are_no_aligned_faces(tmp_path: Path) -> None:
    for index, size in enumerate([(64, 64), (64, 64), (64, 70)]):
        Image.new("RGB", size).save(tmp_path / f"{index}.png")
    settings = {"held_out": 0, "smallest": 64, "square": True}
    photos, _ = open_photos(tmp_path, max_broken=0.5, **settings)  # type: ignore[arg-type]
    assert sorted(photos.names) == ["0.png", "1.png"]
    with pytest.raises(OptionError, match=r"1 of 3 photos .* cannot be used"):
        open_photos(tmp_path, max_broken=0.1, **settings)  # type: ignore[arg-type]
