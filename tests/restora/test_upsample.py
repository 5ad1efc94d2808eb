"""Facts about enlarging a photo."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import NearestSession, make_info, replace_opening, restorer_of
from restora.backends import OpenedSession
from restora.errors import ImageError, OptionError, ShapeError
from restora.image import write_photo
from restora.image.photo import Metadata, Photo
from restora.pipeline import Restorer
from restora.tiling import Tiling
from restora.upsample import Upsampler


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    top = int(np.iinfo(dtype).max) + 1
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    tile=st.sampled_from([0, 20, 24]),
    multiple=st.sampled_from([1, 2, 4]),
    gray=st.booleans(),
    depth=st.sampled_from([np.uint8, np.uint16]),
    has_alpha=st.booleans(),
)
def test_any_size_comes_out_exactly_scaled(
    height: int, width: int, tile: int, multiple: int, gray: bool, depth: type, has_alpha: bool
) -> None:
    session = NearestSession(multiple=multiple, io="uint8" if depth is np.uint8 else "float32")
    shape = (height, width) if gray else (height, width, 3)
    alpha = noise(height, width, dtype=depth, seed=1) if has_alpha else None
    photo = Photo(noise(*shape, dtype=depth), alpha)
    result = Upsampler(session, tiling=Tiling(tile, 8)).upsample(photo)
    expected = photo.pixels.repeat(2, axis=0).repeat(2, axis=1)
    assert result.pixels.dtype == depth
    assert np.abs(result.pixels.astype(int) - expected.astype(int)).max() <= 1  # gray: rounding
    if alpha is not None:
        assert result.alpha is not None
        assert result.alpha.shape == expected.shape[:2]


def test_metadata_and_format_are_carried_over() -> None:
    photo = Photo(noise(4, 4, 3), metadata=Metadata(icc=b"icc", exif=b"exif"), format="PNG")
    result = Upsampler(NearestSession()).upsample(photo)
    assert result.metadata == photo.metadata
    assert result.format == "PNG"


def test_an_opaque_alpha_stays_opaque_and_costs_no_pass() -> None:
    session = NearestSession()
    photo = Photo(noise(4, 4, 3), np.full((4, 4), 255, np.uint8))
    result = Upsampler(session).upsample(photo)
    assert result.alpha is not None
    assert (result.alpha == 255).all()
    assert len(session.shapes) == 1


def test_alpha_can_be_enlarged_without_the_network() -> None:
    session = NearestSession()
    photo = Photo(noise(4, 4, 3), noise(4, 4))
    Upsampler(session, alpha="bilinear").upsample(photo)
    assert len(session.shapes) == 1


@pytest.mark.parametrize(("outscale", "size"), [(1, (7, 5)), (1.5, (10, 7)), (3, (21, 15))])
def test_another_outscale_is_reached_by_resizing(outscale: float, size: tuple[int, int]) -> None:
    result = Upsampler(NearestSession()).upsample(Photo(noise(5, 7, 3)), outscale=outscale)
    assert (result.width, result.height) == size


@pytest.mark.parametrize("outscale", [0, -1, float("nan"), float("inf"), 1e200, "2", True, [2]])
def test_an_outscale_that_is_no_sensible_number_is_refused(outscale: Any) -> None:
    photo = Photo(np.zeros((5, 7, 3), np.uint8))
    with pytest.raises(OptionError, match="outscale must be a number above 0 and below 1e"):
        Upsampler(NearestSession()).upsample(photo, outscale=outscale)
    with pytest.raises(OptionError, match="outscale must be a number above 0 and below 1e"):
        restorer_of(NearestSession()).restore(photo, outscale=outscale)
    with pytest.raises(OptionError, match="outscale must be a number above 0 and below 1e"):
        Restorer(None).restore(photo, outscale=outscale)


def test_more_than_the_networks_own_scale_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    restorer = restorer_of(NearestSession(scale=2))
    photo = Photo(np.zeros((5, 7, 3), np.uint8))
    for outscale in (1, 2, None):
        restorer.restore(photo, outscale=outscale)
    assert not caplog.records
    for outscale in (4, 3):
        restorer.restore(photo, outscale=outscale)
    (record,) = caplog.records
    assert "enlarges 2 times; from there to 4 times pixels are interpolated" in record.message


def test_a_photo_may_be_given_as_a_path_or_as_the_bytes_of_a_file(tmp_path: Path) -> None:
    photo = Photo(noise(5, 7, 3))
    write_photo(photo, tmp_path / "a.png")
    restorer = restorer_of(NearestSession())
    expected = restorer.restore(photo).photo.pixels
    path = tmp_path / "a.png"
    data = path.read_bytes()
    for form in (str(path), path, data, bytearray(data), memoryview(data), photo.pixels):
        assert np.array_equal(restorer.restore(form).photo.pixels, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (None, ShapeError, "its bytes, or a file object, got NoneType"),
        (7, ShapeError, "got int"),
        ([[1]], ShapeError, "got list"),
        ("no/such.jpg", ImageError, "no/such.jpg"),
        (b"not a picture", ImageError, "the bytes|picture|format"),
        (b"", ImageError, "empty|picture|format"),
        (np.zeros((4, 4, 3)), ShapeError, "must be uint8 or uint16, got float64"),
        (np.uint8(3), ShapeError, "shape"),
    ],
)
def test_what_is_no_photo_is_an_error_that_says_what_came(
    given: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        restorer_of(NearestSession()).restore(given)


def test_an_outscale_may_be_a_number_of_numpy() -> None:
    photo = Photo(np.zeros((5, 7, 3), np.uint8))
    for outscale in (np.int64(3), np.float32(3)):
        result = restorer_of(NearestSession()).restore(photo, outscale=outscale)  # type: ignore[arg-type]
        assert (result.photo.width, result.photo.height, result.scale) == (21, 15, 3)


def test_an_outscale_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="at least one pixel of 7 x 5"):
        Upsampler(NearestSession()).upsample(Photo(noise(5, 7, 3)), outscale=0.1)


def test_a_flat_picture_shrunk_by_area_stays_flat() -> None:
    photo = Photo(np.full((9, 9, 3), 77, np.uint8))
    result = Upsampler(NearestSession()).upsample(photo, outscale=0.7)
    assert (result.pixels == 77).all()


def test_sixteen_bits_need_the_float_artifact() -> None:
    with pytest.raises(ShapeError, match="use the float32 artifact"):
        Upsampler(NearestSession()).upsample(Photo(noise(4, 4, 3, dtype=np.uint16)))


def test_progress_counts_both_passes_of_a_transparent_photo() -> None:
    seen: list[tuple[int, int]] = []
    upsampler = Upsampler(NearestSession(), tiling=Tiling(8, 2))
    upsampler.upsample(
        Photo(noise(20, 20, 3), noise(20, 20)),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (3200, 3200)
    assert seen == sorted(seen)


def test_padding_before_the_network_is_cut_off_again() -> None:
    session = NearestSession()
    photo = Photo(noise(3, 4, 3))
    result = Upsampler(session, pre_pad=10).upsample(photo)
    assert session.shapes == [(1, 13, 14, 3)]
    assert np.array_equal(result.pixels, photo.pixels.repeat(2, axis=0).repeat(2, axis=1))


def test_only_an_upsampler_artifact_is_taken() -> None:
    session = NearestSession()
    session.info = make_info(kind="face")
    with pytest.raises(OptionError, match="tiny is a face, not an upsampler"):
        Upsampler(session)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8+fp32"])
def test_gray_is_rounded_once_where_rounding_is_the_largest_error(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = {"uint8": NearestSession(), "float32": NearestSession(io="float32")}

    def choose(path: Path, /, **_: object) -> OpenedSession:
        arithmetic = precision if "+" in precision else None
        return OpenedSession(
            sessions[str(path)], "cpu", precision.split("+")[0], arithmetic=arithmetic
        )

    replace_opening(monkeypatch, choose)
    photo = Photo(noise(6, 8))
    with Restorer("any") as restorer:
        result = restorer.restore(photo).photo.pixels
    assert np.array_equal(result, photo.pixels.repeat(2, axis=0).repeat(2, axis=1))
    used = "float32" if precision == "fp32" else "uint8"
    assert {io for io, session in sessions.items() if session.shapes} == {used}
