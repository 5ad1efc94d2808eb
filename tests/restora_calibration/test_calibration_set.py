"""Facts about calibration sets: who is in them, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from restora.errors import OptionError
from restora_calibration.calibration_set import (
    CalibrationSet,
    SetPlan,
    Source,
    bundled_sources,
    describe_set,
    make_calibration_set,
    make_source,
    read_sources,
)
from restora_calibration.degrade import MILD
from restora_calibration.judges import require_judges
from restora_calibration.tile_kinds import KINDS, kind_of

SMALL = SetPlan(tile=32, calibrating=12, judging=6, searching=6, ranges=MILD)


def photo(seed: int, *, side: int = 160) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def sources(count: int) -> list[Source]:
    return [make_source(f"{index}.png", photo(index)) for index in range(count)]


def make(found: list[Source], plan: SetPlan = SMALL) -> tuple[CalibrationSet, list[str]]:
    words: list[str] = []
    return make_calibration_set(found, plan, report=words.append), words


def test_the_same_photos_and_seed_give_the_same_set() -> None:
    one, _ = make(sources(5))
    two, _ = make(sources(5)[::-1])
    other, _ = make(sources(5), SetPlan(32, 12, 6, 6, MILD, seed=1))
    assert one.sha256 == two.sha256 != other.sha256
    assert one.calibrating.shape == (12, 32, 32, 3)
    assert one.judging.shape == (6, 32, 32, 3)


def test_no_photo_that_judges_serves_calibration_or_search() -> None:
    tiles, _ = make(sources(5))
    photos = {
        use: {tile["photo"] for tile in tiles.manifest["tiles"] if tile["use"] == use}
        for use in ("calibrate", "search", "judge")
    }
    assert all(photos.values())
    assert not (photos["calibrate"] | photos["search"]) & photos["judge"]
    places = [(t["photo"], t["version"], t["top"], t["left"]) for t in tiles.manifest["tiles"]]
    assert len(set(places)) == len(places)


def test_a_single_photo_serves_all_with_different_tiles() -> None:
    tiles, _ = make(sources(1), SetPlan(16, 6, 6, 6, MILD))
    places = [(tile["version"], tile["top"], tile["left"]) for tile in tiles.manifest["tiles"]]
    assert len(set(places)) == len(places) == 18
    assert tiles.manifest["photos"][0]["use"] == "calibrate and search and judge"


def test_every_tile_can_be_found_again_from_the_manifest() -> None:
    plan = SetPlan(32, 8, 4, 4, None)
    tiles, _ = make(sources(4), plan)
    pixels = {source.name: source.pixels for source in sources(4)}
    cut = [tile for tile in tiles.manifest["tiles"] if tile["use"] == "judge"]
    for tile, found in zip(cut, tiles.judging, strict=True):
        top, left = tile["top"], tile["left"]
        assert np.array_equal(pixels[tile["photo"]][top : top + 32, left : left + 32], found)
    assert len(tiles.manifest["photos"][0]["sha256"]) == 64


def test_the_bundled_photos_give_tiles_of_every_kind() -> None:
    tiles, _ = make(bundled_sources(), SetPlan(96, 40, 24, 24, MILD))
    kinds = {tile["kind"] for tile in tiles.manifest["tiles"] if tile["use"] == "calibrate"}
    assert kinds == set(KINDS)
    assert "tiles to judge" in describe_set(tiles)
    require_judges(tiles.judging, (tiles.calibrating, tiles.searching))


def test_degraded_photos_keep_their_size_where_faces_are_meant() -> None:
    tiles, _ = make(sources(4), SetPlan(160, 2, 1, 1, MILD, keep_size=True))
    assert tiles.calibrating.shape == (2, 160, 160, 3)


def test_kinds_are_what_they_are_called() -> None:
    rng = np.random.default_rng(0)
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert kind_of(flat) == "flat"
    page = np.full((64, 64, 3), 245, np.uint8)
    cv2.putText(page, "abc", (2, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (10, 10, 10), 2)
    cv2.putText(page, "xyz", (2, 58), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (10, 10, 10), 2)
    assert kind_of(page) == "text"
    skin = np.clip(rng.normal((205, 150, 125), 12, (64, 64, 3)), 0, 255).astype(np.uint8)
    assert kind_of(skin) == "skin"
    gray = rng.integers(60, 200, (64, 64, 1), np.uint8).repeat(3, 2)
    assert kind_of(gray) == "texture"
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:] = (128 + 60 * np.sin(np.arange(64) / 3))[None, :, None]
    assert kind_of(stripes) == "edges"


def test_a_picture_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    cv2.imwrite(str(tmp_path / "good.png"), photo(0))
    words: list[str] = []
    found = read_sources(tmp_path, report=words.append)
    assert [source.name for source in found] == ["good.png"]
    assert "broken.jpg" in words[0]


def test_a_folder_without_a_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no photos"):
        read_sources(tmp_path, report=lambda _words: None)
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(OptionError, match="can be read"):
        read_sources(tmp_path, report=lambda _words: None)
    with pytest.raises(OptionError, match="no folder"):
        read_sources(tmp_path / "absent", report=lambda _words: None)


def test_photos_smaller_than_a_tile_are_said_and_refused_if_there_is_nothing_else() -> None:
    small = [make_source("small.png", photo(0, side=24))]
    with pytest.raises(OptionError, match="smaller --tile"):
        make(small)
    _, words = make([*sources(4), *small])
    assert any("small.png" in said and "smaller than a tile" in said for said in words)


def test_pictures_of_one_color_are_refused() -> None:
    gray = [make_source(f"{n}.png", np.full((99, 99, 3), 128, np.uint8)) for n in range(3)]
    with pytest.raises(OptionError, match="single color"):
        make(gray, SetPlan(32, 12, 6, 6, None))
