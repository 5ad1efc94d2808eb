"""The upsampler gives the published pipeline's pictures, case by case.

The published script's choices are reached by settings: its tile grid with hard cuts, its mirrored
pre-padding, Lanczos for every resize. Where it fails on an input that can be enlarged, we do
better, and the test says so.
"""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from export_cache import kept
from fakes import PASSED, make_info
from recipe import DATA, fill_network, network_from_constructor, state_sha256
from restora.artifact import Io, artifact_from_bytes
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.errors import MissingModelError, OptionError
from restora.image import Photo
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.tiling import Tiling
from restora.upsample import Upsampler
from restora_export.onnx_file import onnx_bytes, onnx_from_network
from stored import read_arrays

CASES: dict[str, Any] = json.loads((DATA / "pipeline" / "realesrganer.json").read_text())
ARRAYS = read_arrays(DATA / "pipeline" / "realesrganer.npz")
# the published code raises for these; a picture comes out here
IMPROVED = {"x2_oddtile_fails", "x2_oddpad_fails", "prepad_too_large_fails"}


@cache
def session_for(name: str, io: Io) -> OnnxRuntimeCpuSession:
    onnx = kept(f"{name} {io}", lambda: export(name, io))
    return OnnxRuntimeCpuSession(artifact_from_bytes(onnx))


def export(name: str, io: Io) -> bytes:
    spec = CASES["networks"][name]
    network = network_from_constructor(spec["arch"], spec["constructor"])
    fill_network(network, spec["seed"], spec["family"])
    state = network.state_dict()
    for key, factor in spec["rescale_after_recipe"].items():
        state[key] *= factor
    assert state_sha256(state) == spec["state_sha256"]
    multiple = int(network.size_multiple)  # type: ignore[arg-type]
    scale = int(network.scale)  # type: ignore[arg-type]
    proto = onnx_from_network(network, io=io)
    info = make_info(scale=scale, io=io, size_multiple=multiple, accuracy=PASSED)
    return onnx_bytes(proto, info)


def photo_from_published(array: np.ndarray) -> Photo:
    """OpenCV's channel order and layouts to ours; 16 bits are told by the values, as published."""
    if array.dtype == np.uint16 and array.max() <= 256:
        array = array.astype(np.uint8)
    if array.ndim == 3 and array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if array.ndim == 2:
        return Photo(array)
    alpha = np.ascontiguousarray(array[..., 3]) if array.shape[2] == 4 else None
    return Photo(np.ascontiguousarray(array[..., 2::-1]), alpha)


def published_from_photo(photo: Photo) -> np.ndarray:
    if photo.is_gray:
        return photo.pixels
    channels = [photo.pixels[..., 2], photo.pixels[..., 1], photo.pixels[..., 0]]
    return np.dstack(channels if photo.alpha is None else [*channels, photo.alpha])


def upsampler_for(case: dict[str, Any], io: Io) -> Upsampler:
    tiling = Tiling(case["tile"], 2 * case["tile_pad"], blend="crop", published_grid=True)
    return Upsampler(
        session_for(case["net"], io),
        tiling=tiling,
        alpha="network" if case["alpha_upsampler"] == "realesrgan" else "bilinear",
        resize="lanczos4",
        pre_pad=case["pre_pad"],
    )


def stored_rows(name: str, got: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is stored of a published result, and the same of ours: of large ones every third row."""
    if f"{name}__out__3" in ARRAYS:
        return got[::3], ARRAYS[f"{name}__out__3"]
    return got, ARRAYS[f"{name}__out"]


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_the_published_picture_comes_out(case: dict[str, Any]) -> None:
    name = case["name"]
    if case["expect"] != "ok":
        assert name in IMPROVED
        return
    photo = photo_from_published(ARRAYS[f"{name}__in"])
    result = upsampler_for(case, "float32").upsample(photo, outscale=case["outscale"])
    got, expected = stored_rows(name, published_from_photo(result))
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    difference = np.abs(got.astype(int) - expected.astype(int))
    scale = CASES["networks"][case["net"]]["netscale"]
    resized = case["outscale"] not in (None, scale)
    if got.dtype == np.uint8:  # tolerances as stated beside the data
        assert difference.max() <= (2 if resized else 1)
        assert (difference > 0).mean() <= 0.005
    else:
        assert difference.max() <= (16 if resized else 8)


class Lent:
    """A session that several Restorers use in turn: closing it does nothing."""

    def __init__(self, session: OnnxRuntimeCpuSession) -> None:
        self.info, self.limits, self.run = session.info, session.limits, session.run

    def close(self) -> None:
        pass


def restore_published(case: dict[str, Any], **changes: Any) -> np.ndarray:
    """The result of an 8-bit case, from a Restorer with both sessions."""
    options = RestoreOptions(
        tile=case["tile"],
        pre_pad=case["pre_pad"],
        alpha="network" if case["alpha_upsampler"] == "realesrgan" else "bilinear",
        **changes,
    )
    sessions = [Lent(session_for(case["net"], io)) for io in ("uint8", "float32")]
    with Restorer.from_session(sessions[0], session_16bit=sessions[1], options=options) as restorer:
        photo = photo_from_published(ARRAYS[f"{case['name']}__in"])
        return published_from_photo(restorer.restore(photo, outscale=case["outscale"]).photo)


EIGHT_BIT = [
    case
    for case in CASES["cases"]
    if case["expect"] == "ok" and case["tile_pad"] == 10 and "u16" not in case["name"]
]


@pytest.mark.parametrize("case", EIGHT_BIT, ids=lambda case: case["name"])
def test_one_preset_gives_the_published_picture_of_8_bit_photos(case: dict[str, Any]) -> None:
    got, expected = stored_rows(case["name"], restore_published(case, compat="upstream"))
    assert got.shape == expected.shape
    difference = np.abs(got.astype(int) - expected.astype(int))
    resized = case["outscale"] not in (None, CASES["networks"][case["net"]]["netscale"])
    assert difference.max() <= (2 if resized else 1)
    assert (difference > 0).mean() <= 0.005


@pytest.mark.parametrize("name", ["x4_gray", "x4_bgra_realesrgan"])
def test_gray_and_alpha_of_8_bit_photos_are_rounded_once(name: str) -> None:
    case = next(case for case in CASES["cases"] if case["name"] == name)
    got = restore_published(case)
    difference = np.abs(got.astype(int) - ARRAYS[f"{name}__out"].astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.005


def test_without_a_network_for_floats_gray_is_within_a_level_and_this_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = next(case for case in CASES["cases"] if case["name"] == "x4_gray")
    photo = photo_from_published(ARRAYS["x4_gray__in"])
    with Restorer.from_session(Lent(session_for(case["net"], "uint8"))) as restorer:
        for _ in range(2):
            got = published_from_photo(restorer.restore(photo).photo)
    assert np.abs(got.astype(int) - ARRAYS["x4_gray__out"].astype(int)).max() <= 1
    assert len([message for message in caplog.messages if "are rounded twice" in message]) == 1
    options = RestoreOptions(compat="upstream")
    upstream = Restorer.from_session(Lent(session_for(case["net"], "uint8")), options=options)
    with upstream, pytest.raises(MissingModelError, match="session_16bit"):
        upstream.restore(photo)


def test_the_preset_keeps_what_is_chosen_beside_it() -> None:
    plain = RestoreOptions(compat="upstream")
    assert (plain.overlap, plain.published_tiles, plain.blend) == (20, True, "crop")
    assert plain.resize == "lanczos4"
    chosen = RestoreOptions(compat="upstream", overlap=8, blend="linear")
    assert (chosen.overlap, chosen.blend) == (8, "linear")
    with pytest.raises(OptionError, match="compat must be"):
        RestoreOptions(compat="published")  # type: ignore[arg-type]


def test_the_8_bit_artifact_is_within_one_level_of_the_published_picture() -> None:
    for name in ("x4_bgr", "x2_odd", "x4_tile32", "srvgg_bgr", "x4_gray"):
        case = next(case for case in CASES["cases"] if case["name"] == name)
        photo = photo_from_published(ARRAYS[f"{name}__in"])
        result = upsampler_for(case, "uint8").upsample(photo)
        got, expected = stored_rows(name, published_from_photo(result))
        assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("tile", [31, 30])
def test_odd_tiles_and_paddings_work_where_the_published_script_fails(tile: int) -> None:
    rng = np.random.default_rng(4)
    photo = Photo(rng.integers(0, 256, (51, 71, 3), np.uint8))
    session = session_for("rrdb_x2", "uint8")
    whole = Upsampler(session, tiling=Tiling(0)).upsample(photo)
    tiled = Upsampler(session, tiling=Tiling(tile, 13)).upsample(photo)
    assert tiled.pixels.shape == (102, 142, 3)
    assert np.abs(tiled.pixels.astype(int) - whole.pixels.astype(int)).mean() < 1


def test_padding_wider_than_the_picture_works_where_the_published_script_fails() -> None:
    photo = Photo(np.random.default_rng(4).integers(0, 256, (9, 30, 3), np.uint8))
    result = Upsampler(session_for("rrdb_x4", "uint8"), pre_pad=10).upsample(photo)
    assert result.pixels.shape == (36, 120, 3)


def test_a_16_bit_photo_is_told_by_its_type_even_when_it_is_dark() -> None:
    """The published script takes a dark 16-bit picture for an 8-bit one and clips it."""
    dark = Photo(ARRAYS["x4_bgr_u16_dark_is_8bit__in"][..., ::-1].copy())
    result = Upsampler(session_for("rrdb_x4", "float32")).upsample(dark)
    assert result.pixels.dtype == np.uint16


def test_the_published_grid_with_an_odd_tile_is_refused_with_a_reason() -> None:
    tiling = Tiling(31, 20, blend="crop", published_grid=True)
    photo = Photo(np.zeros((51, 71, 3), np.uint8))
    with pytest.raises(OptionError, match="multiples of 2"):
        Upsampler(session_for("rrdb_x2", "uint8"), tiling=tiling).upsample(photo)
