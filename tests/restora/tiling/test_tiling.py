"""Facts about cutting a picture into tiles and joining them again."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restora.errors import OptionError, ShapeError
from restora.tiling import Blend, Tiling, run_tiles, split_axis, split_published
from restora.tiling.blend import Array, find_ramp, make_ramp

BLENDS = st.sampled_from(["linear", "cosine", "crop"])


@st.composite
def axes(draw: st.DrawFn) -> dict[str, int | bool]:
    multiple = draw(st.sampled_from([1, 2, 4]))
    overlap = draw(st.integers(0, 20))
    size = draw(st.integers(overlap + 2 * multiple + multiple, 80))
    length = draw(st.integers(1, 100)) * multiple
    return {
        "length": length,
        "size": size,
        "overlap": overlap,
        "multiple": multiple,
        "fixed": draw(st.booleans()),
    }


@given(axes())
def test_windows_are_equal_cover_the_axis_and_share_the_overlap(axis: dict[str, int]) -> None:
    spans = split_axis(axis.pop("length"), **axis)  # type: ignore[arg-type]
    assert spans[0].start == 0
    assert len({span.stop - span.start for span in spans}) == 1
    for a, b in pairwise(spans):
        assert a.start < b.start
        assert a.stop - b.start >= axis["overlap"]
        assert a.right == b.left
        assert b.start <= b.left <= a.stop


@given(axes())
def test_windows_stay_within_the_size_and_on_the_grid(axis: dict[str, int]) -> None:
    length = axis.pop("length")
    spans = split_axis(length, **axis)  # type: ignore[arg-type]
    assert spans[-1].stop == length
    for span in spans:
        assert span.stop - span.start <= axis["size"]
        assert span.start % axis["multiple"] == 0
        assert (span.stop - span.start) % axis["multiple"] == 0


def test_fixed_windows_measure_exactly_the_tile_size() -> None:
    spans = split_axis(300, size=128, overlap=16, fixed=True)
    assert {span.stop - span.start for span in spans} == {128}


def test_free_windows_shrink_to_an_even_split() -> None:
    spans = split_axis(300, size=256, overlap=20)
    assert [(span.start, span.stop) for span in spans] == [(0, 160), (140, 300)]


def test_the_published_grid_clips_its_padding_at_the_border() -> None:
    spans = split_published(50, tile=32, pad=10)
    assert [(s.start, s.stop, s.left, s.right) for s in spans] == [(0, 42, 0, 32), (22, 50, 32, 50)]


def test_a_tile_not_larger_than_its_overlap_is_refused() -> None:
    with pytest.raises(OptionError, match="larger than its overlap, got tile 16 and overlap 16"):
        split_axis(100, size=16, overlap=16)


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(OptionError, match="of at least 0, got -1"):
        Tiling(size=-1)


@given(st.integers(1, 40), st.sampled_from(["linear", "cosine"]))
def test_a_ramp_and_its_mirror_add_up_to_one(length: int, blend: str) -> None:
    ramp = make_ramp(length, blend)  # type: ignore[arg-type]
    assert np.allclose(ramp + ramp[::-1], 1)
    assert (np.diff(ramp) >= 0).all()


@given(axes())
def test_ramps_of_neighboring_seams_never_touch(axis: dict[str, int]) -> None:
    spans = split_axis(axis.pop("length"), **axis)  # type: ignore[arg-type]
    ramp = find_ramp(spans, widest=axis["overlap"])
    seams = [span.left for span in spans[1:]]
    assert all(b - a >= ramp for a, b in pairwise(seams))
    for seam, a, b in zip(seams, spans, spans[1:], strict=False):
        assert b.start <= seam - ramp // 2
        assert seam + ramp // 2 <= a.stop


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    size=st.integers(12, 40),
    overlap=st.integers(0, 10),
    batch=st.integers(1, 5),
    blend=BLENDS,
    scale=st.sampled_from([1, 2, 3]),
    published=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.float32]),
)
def test_tiles_of_a_local_network_join_to_exactly_the_whole(
    height: int,
    width: int,
    size: int,
    overlap: int,
    batch: int,
    blend: str,
    scale: int,
    published: bool,
    dtype: type,
) -> None:
    image = np.random.default_rng(height * 61 + width).integers(0, 256, (height, width, 3))
    image = image.astype(dtype)

    def network(x: np.ndarray) -> np.ndarray:
        return x.repeat(scale, axis=1).repeat(scale, axis=2)

    tiling = Tiling(size, overlap, batch, blend, published_grid=published)  # type: ignore[arg-type]
    result = run_tiles(image, network, scale=scale, tiling=tiling)
    assert np.array_equal(result, network(image[None])[0])


def test_progress_ends_at_all_output_pixels() -> None:
    seen: list[tuple[int, int]] = []
    run_tiles(
        np.zeros((30, 50, 3), np.uint8),
        lambda x: x.repeat(2, axis=1).repeat(2, axis=2),
        scale=2,
        tiling=Tiling(size=20, overlap=4),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (6000, 6000)
    assert all(a[0] < b[0] for a, b in pairwise(seen))


def test_a_network_that_returns_another_size_is_an_error() -> None:
    with pytest.raises(ShapeError, match=r"must return uint8 of shape \(1, 20, 20, 3\)"):
        run_tiles(np.zeros((10, 10, 3), np.uint8), lambda x: x, scale=2, tiling=Tiling(0))


def test_an_error_in_one_tile_reaches_the_caller() -> None:
    calls = 0

    def network(x: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("tile 3")
        return x

    with pytest.raises(RuntimeError, match="tile 3"):
        run_tiles(np.zeros((9, 90, 3), np.uint8), network, scale=1, tiling=Tiling(20, 4))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("overlap", [8, 16, 32])
@pytest.mark.parametrize("blend", ["cosine", "linear", "crop"])
def test_tiles_fade_over_half_of_what_they_share_around_the_seam(
    axis: int, scale: int, overlap: int, blend: Blend
) -> None:
    """Two tiles in two shades: all of the fade's pixels lie strictly between the shades."""
    length = 128 - overlap
    shape = (length, 16) if axis == 0 else (16, length)
    shades = iter((0.0, 1.0))

    def paint(batch: Array) -> Array:
        size = (1, batch.shape[1] * scale, batch.shape[2] * scale, 3)
        return np.full(size, next(shades), np.float32)

    tiling = Tiling(size=64, overlap=overlap, blend=blend)
    canvas = run_tiles(np.zeros((*shape, 3), np.float32), paint, scale=scale, tiling=tiling)
    profile = np.moveaxis(canvas, axis, 0)[:, 0, 0]
    (mixed,) = np.nonzero((profile > 0) & (profile < 1))
    fade, middle = 0 if blend == "crop" else overlap // 2, length // 2
    expected = range((middle - fade // 2) * scale, (middle + fade // 2) * scale)
    assert mixed.tolist() == list(expected)
    assert (np.diff(profile) >= 0).all()
    assert (profile[: middle * scale] < 0.5).all()
    assert (profile[middle * scale :] > 0.5).all()
