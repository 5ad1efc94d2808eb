"""Facts about the tiles that accept 8 bits: how many, of which kinds, and who has seen them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from restora.errors import OptionError
from restora_calibration import judges
from restora_calibration.judges import describe_missing, require_judges, share_photos

if TYPE_CHECKING:
    from restora_calibration.tile_kinds import TileKind

NONE = np.zeros((0, 2, 2, 3), np.uint8)


@pytest.fixture(autouse=True)
def kind_by_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first value of a tile is its kind."""
    monkeypatch.setattr(judges, "kind_of", lambda tile: judges.KINDS[int(tile[0, 0, 0])])


def tiles_of(*kinds: TileKind) -> NDArray[np.uint8]:
    """Tiles that all differ."""
    tiles = np.zeros((len(kinds), 2, 2, 3), np.uint8)
    tiles[:, 0, 0, 0] = [judges.KINDS.index(kind) for kind in kinds]
    tiles[:, 1, 1, 0] = range(len(kinds))
    return tiles


FOUR: tuple[TileKind, ...] = ("flat", "text", "skin", "edges") * 6


def test_24_tiles_of_four_kinds_suffice() -> None:
    require_judges(tiles_of(*FOUR), (NONE,))


def test_the_error_says_how_many_of_what_are_missing() -> None:
    with pytest.raises(
        OptionError, match=r"give 4 \(4 edges\): 20 tiles and 3 kinds \(of"
    ) as caught:
        require_judges(tiles_of(*["edges"] * 4), (NONE,))  # type: ignore[list-item]
    assert "kinds (of flat, text, skin, texture) are missing; give more" in str(caught.value)
    with pytest.raises(OptionError, match=r"give 23 .*: 1 tiles are missing"):
        require_judges(tiles_of(*FOUR[:23]), (NONE,))
    uniform: list[TileKind] = ["flat"] * 20 + ["text", "text", "skin", "skin", "edges"]
    with pytest.raises(OptionError, match=r"1 edges\): 1 kinds \(of edges, texture\) are missing"):
        require_judges(tiles_of(*uniform), (NONE,))


def test_tiles_that_calibration_or_search_saw_do_not_count() -> None:
    tiles = tiles_of(*FOUR)
    for known in ((tiles[:2], NONE), (NONE, tiles[5:7])):
        with pytest.raises(OptionError, match="2 tiles are missing"):
            require_judges(tiles, known)


def test_a_repeated_tile_counts_once() -> None:
    tiles = tiles_of(*FOUR)
    tiles[4] = tiles[0]
    with pytest.raises(OptionError, match="1 tiles are missing"):
        require_judges(tiles, (NONE,))


def test_faces_may_be_of_one_kind() -> None:
    require_judges(tiles_of(*["skin"] * 24), (NONE,), min_kinds=1)  # type: ignore[list-item]
    assert describe_missing(["skin"] * 23, min_kinds=1) == ["1 tiles"]


def test_a_quarter_of_the_photos_judges_if_that_suffices() -> None:
    shares = share_photos({str(number): FOUR for number in range(8)}, seed=0)
    assert sorted(shares.values()).count(("judge",)) == 2
    assert set(shares.values()) == {("judge",), ("calibrate", "search")}


def test_more_photos_judge_if_a_quarter_is_too_uniform() -> None:
    photos: dict[str, tuple[TileKind, ...]] = {str(number): ("edges",) * 30 for number in range(9)}
    photos |= {"9": ("flat", "flat"), "a": ("skin", "skin"), "b": ("text", "text", "flat")}
    for seed in range(9):
        shares = share_photos(photos, seed=seed)
        judging = [name for name, uses in shares.items() if uses == ("judge",)]
        assert not describe_missing([kind for name in judging for kind in photos[name]])
        assert 4 <= len(judging) <= 6


def test_at_most_half_of_the_photos_judge() -> None:
    photos: dict[str, tuple[TileKind, ...]] = {str(number): ("edges",) for number in range(7)}
    shares = share_photos(photos, seed=0)
    assert list(shares.values()).count(("judge",)) == 3


def test_a_single_photo_has_all_uses() -> None:
    assert share_photos({"one": FOUR}, seed=0) == {"one": ("calibrate", "search", "judge")}
