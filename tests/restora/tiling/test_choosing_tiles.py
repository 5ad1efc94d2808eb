"""Facts about which tiles are chosen for an image."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restora.errors import OptionError
from restora.tiling import Tiling, plan_tiles, split_axis
from restora.tiling.choose import CALL_PX, choose_tiles

SHAPES = ((256, 256), (512, 512))
# of cameras, screens and scans: 2 MP and more, also narrow ones
PHOTOS = [
    (1080, 1920),
    (1920, 1080),
    (1200, 1700),
    (1001, 2003),
    (3000, 4000),
    (4000, 6000),
    (2999, 4001),
    (700, 3100),
    (6000, 9000),
]


@st.composite
def images(draw: st.DrawFn) -> dict[str, int]:
    multiple = draw(st.sampled_from([1, 2, 4]))
    overlap = draw(st.integers(0, 12))
    return {
        "height": draw(st.integers(1, 60)) * multiple,
        "width": draw(st.integers(1, 60)) * multiple,
        "overlap": overlap,
        "multiple": multiple,
        "size": draw(st.integers(overlap + 2 * multiple, 100)),
        "max_pixels": draw(st.integers(900, 6000)),
    }


def computed_px(height: int, width: int, tiling: Tiling, multiple: int = 1) -> int:
    plan = plan_tiles(height, width, tiling, multiple=multiple, scale=1)
    return sum(tile.shape[0] * tile.shape[1] for run in plan.iter_runs() for tile in run)


@given(images())
def test_tiles_stay_within_their_limits_and_are_those_that_were_chosen(
    image: dict[str, int],
) -> None:
    chosen = choose_tiles(**image)
    multiple, most = image["multiple"], image["max_pixels"]
    tiling = Tiling(image["size"], image["overlap"], max_pixels=most)
    plan = plan_tiles(image["height"], image["width"], tiling, multiple=multiple, scale=1)
    tiles = [tile for run in plan.iter_runs() for tile in run]
    assert {tile.shape for tile in tiles} == {chosen.shape}
    assert len(tiles) == chosen.count
    tall, wide = chosen.shape
    assert max(tall, wide) <= image["size"]
    assert tall * wide <= most
    assert tall % multiple == wide % multiple == 0


@given(images())
def test_no_layout_of_equal_tiles_within_the_limits_is_cheaper(image: dict[str, int]) -> None:
    chosen = choose_tiles(**image)
    height, width = image["height"], image["width"]
    overlap, multiple, size = image["overlap"], image["multiple"], image["size"]
    whole = -(-overlap // multiple) * multiple
    sides = range((whole // multiple + 1) * multiple, size + 1, multiple)
    costs = []
    for tall, wide in product(sides, sides):
        rows = split_axis(height, size=tall, overlap=overlap, multiple=multiple)
        columns = split_axis(width, size=wide, overlap=overlap, multiple=multiple)
        area = rows[0].stop * columns[0].stop
        if area <= image["max_pixels"]:
            costs.append((area + CALL_PX) * len(rows) * len(columns))
    assert chosen.computed_px + CALL_PX * chosen.count == min(costs)


@given(images(), st.floats(1, 4))
def test_shapes_that_the_session_is_prepared_for_are_used_exactly_or_not_at_all(
    image: dict[str, int], cost: float
) -> None:
    shapes = ((24, 24), (24, 48), (48, 48))
    chosen = choose_tiles(**image, shapes=shapes, other_cost=cost)
    without = choose_tiles(**image, other_cost=cost)
    if chosen.fixed:
        assert chosen.shape in shapes
        assert chosen.shape[0] <= image["height"]
        assert chosen.shape[1] <= image["width"]
        taken = chosen.computed_px + CALL_PX * chosen.count
        assert taken <= cost * without.computed_px + CALL_PX * without.count
    else:
        assert chosen == without


def test_a_prepared_shape_wins_while_it_computes_little_more() -> None:
    even = choose_tiles(1000, 1000, overlap=0, size=512, shapes=SHAPES)
    assert (even.shape, even.fixed) == ((500, 500), False)
    prepared = choose_tiles(1000, 1000, overlap=0, size=512, shapes=SHAPES, other_cost=1.1)
    assert (prepared.shape, prepared.fixed, prepared.count) == ((512, 512), True, 4)


def test_of_prepared_shapes_that_compute_the_same_the_one_of_fewer_calls_is_chosen() -> None:
    chosen = choose_tiles(1024, 1024, overlap=0, size=100, shapes=SHAPES)
    assert chosen.shape == (512, 512)


def test_many_calls_cost_more_than_a_few_pixels() -> None:
    shapes = ((101, 101), (512, 512))  # 100 tiles of 1.02 MP, or 4 of 1.05 MP
    assert choose_tiles(1010, 1010, overlap=0, size=10, shapes=shapes).shape == (512, 512)


def test_memory_rules_out_prepared_shapes_too() -> None:
    limits = {"overlap": 0, "size": 512, "shapes": SHAPES, "other_cost": 2}
    assert choose_tiles(1024, 1024, **limits).shape == (512, 512)  # type: ignore[arg-type]
    chosen = choose_tiles(1024, 1024, **limits, max_pixels=256**2)  # type: ignore[arg-type]
    assert chosen.shape == (256, 256)


def test_tiles_are_as_wide_as_their_area_allows() -> None:
    """Of a narrow image, tiles that are not square compute least."""
    chosen = choose_tiles(100, 1000, overlap=10, size=1000, max_pixels=60_000)
    assert (chosen.shape, chosen.count) == ((100, 505), 2)


def test_an_area_too_small_for_the_overlap_is_refused() -> None:
    with pytest.raises(OptionError, match="tile 64 of at most 100 pixels and overlap 16"):
        choose_tiles(100, 100, overlap=16, size=64, max_pixels=100)


@pytest.mark.parametrize(("height", "width"), PHOTOS)
@pytest.mark.parametrize("overlap", [8, 32])
def test_tiles_of_half_a_megapixel_compute_little_more_than_the_photo(
    height: int, width: int, overlap: int
) -> None:
    tiling = Tiling(1024, overlap, max_pixels=512 * 1024)
    assert computed_px(height, width, tiling) <= 1.12 * height * width


@pytest.mark.parametrize(("height", "width"), PHOTOS)
@pytest.mark.parametrize("overlap", [8, 32])
def test_beside_a_static_shape_even_tiles_up_to_768_compute_little_more(
    height: int, width: int, overlap: int
) -> None:
    tiling = Tiling(768, overlap, shapes=((512, 512),), other_cost=1.03)
    assert computed_px(height, width, tiling) <= 1.12 * height * width
