"""Facts about the memory of tiles: how much they may take, and what a network takes for one."""

from __future__ import annotations

import pytest

from fakes import NearestSession, make_info
from restora import tile_memory
from restora.backends import SizeLimits
from restora.options import RestoreOptions, computed_area
from restora.tile_memory import bytes_of_network, choose_max_pixels

GIB = 1 << 30
INFO = make_info(scale=4, elements_per_pixel=1024.0)
LIMITS = SizeLimits()
PARTS = SizeLimits(bytes_per_pixel=4096, bytes_per_call=1 << 28)


def test_memory_grows_with_the_pixels_and_with_what_the_session_says() -> None:
    assert bytes_of_network(INFO, LIMITS, 2000) == 2000 * (16 * 1024 + 12 * 16)
    assert bytes_of_network(INFO, PARTS, 2000) == 2000 * 4096 + (1 << 28)


def test_a_tile_takes_a_third_of_the_limit() -> None:
    for limits in (LIMITS, PARTS):
        most = choose_max_pixels(INFO, limits, overlap=96, memory=6 * GIB)
        taken = bytes_of_network(INFO, limits, most)
        assert 2 * GIB - bytes_of_network(INFO, LIMITS, 1) <= taken <= 2 * GIB


@pytest.mark.parametrize(("machine", "share"), [(64, 6), (8, 2)])
def test_without_a_limit_it_takes_6_gib_or_a_quarter_of_the_machine(
    machine: int, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_memory, "count_bytes", lambda: machine * GIB)
    most = choose_max_pixels(INFO, PARTS, overlap=96, memory=None)
    assert most == choose_max_pixels(INFO, PARTS, overlap=96, memory=3 * share * GIB)


def test_tiles_are_no_larger_than_saves_work() -> None:
    assert choose_max_pixels(INFO, PARTS, overlap=8, memory=99 * GIB) == 512**2
    assert choose_max_pixels(INFO, PARTS, overlap=96, memory=99 * GIB) == (22 * 96) ** 2


@pytest.mark.parametrize(("overlap", "side"), [(8, 64), (96, 288)])
def test_tiles_much_larger_than_their_overlap_are_allowed_in_any_memory(
    overlap: int, side: int
) -> None:
    assert choose_max_pixels(INFO, PARTS, overlap=overlap, memory=1) == side**2


def test_the_computed_area_counts_what_tiles_share() -> None:
    session = NearestSession()
    assert computed_area(session, RestoreOptions(tile=0)) == 1
    options = RestoreOptions(tile=500, overlap=100)
    # 3000 x 4000: 8 x 10 tiles of 463 x 490, each sharing 100
    rows, columns = 8 * 463, 10 * 490
    assert computed_area(session, options) == pytest.approx(rows * columns / 12e6, rel=0.002)


def test_a_session_that_limits_its_tiles_has_memory_of_its_own() -> None:
    session = NearestSession()
    session.limits = SizeLimits(max_tile=768, best_tiles=((512, 512),), other_tiles_cost=1.03)
    tiling = RestoreOptions(memory=GIB).tiling_for(session)
    assert (tiling.size, tiling.max_pixels) == (768, None)
    assert (tiling.shapes, tiling.other_cost) == (((512, 512),), 1.03)


def test_a_tile_that_is_given_is_a_limit_of_sides_alone() -> None:
    session = NearestSession()
    session.limits = SizeLimits(max_tile=768, best_tiles=((256, 256), (512, 512)))
    tiling = RestoreOptions(tile=300, memory=GIB).tiling_for(session)
    assert (tiling.size, tiling.max_pixels, tiling.shapes) == (300, None, ((256, 256),))
    assert RestoreOptions(tile=0).tiling_for(session).largest_px is None
