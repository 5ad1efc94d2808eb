"""Facts about the metadata of an artifact: every field has a type and a range."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
import zlib
from dataclasses import asdict, fields
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import PASSED, make_info, tiny_artifact
from restora.artifact import (
    Accuracy,
    Artifact,
    ArtifactInfo,
    Quantization,
    SelfCheck,
    artifact_from_bytes,
    measure_psnr,
)
from restora.artifact.info import METADATA_KEY, info_from_json
from restora.artifact.selfcheck import METADATA_KEY as SELFCHECK_KEY
from restora.artifact.selfcheck import selfcheck_from_json
from restora.errors import ArtifactError, ShapeError

QUANTIZED = Quantization(3, ("first", "last"), 40.0, True, "0" * 64)
FULL = make_info(quantization=QUANTIZED, elements_per_pixel=32.0, side=64)
NOT_NUMBERS = [True, "5", None, [], {}, float("nan"), float("inf"), -1e300, 10**400]


def text_with(path: str, value: object) -> str:
    """The metadata with one value changed; path as "accuracy.tiles"."""
    values = json.loads(FULL.to_json())
    inner = values
    *above, name = path.split(".")
    for part in above:
        inner = inner[part]
    inner[name] = value
    return json.dumps(values)


NUMBERS = [
    "scale",
    "size_multiple",
    "overlap_px",
    "side",
    "noise",
    "elements_per_pixel",
    *(f"accuracy.{name}" for name in asdict(PASSED) if name != "reference"),
    "quantization.layers",
    "quantization.min_psnr",
]
NULLABLE = ("side", "elements_per_pixel")
TEXTS = ["model", "architecture", "weights_sha256", "exporter", "kind", "precision", "io"]
TEXTS += ["license", "layout", "color", "accuracy.reference", "quantization.tiles_sha256"]


def test_the_metadata_is_read_as_it_was_written() -> None:
    assert info_from_json(FULL.to_json()) == FULL


def test_every_field_of_the_metadata_has_its_wrong_values_tested() -> None:
    tested = {*NUMBERS, *TEXTS, "format", "accuracy", "quantization"}
    tested |= {"quantization.kept", "quantization.bias_corrected"}
    names = {field.name for field in fields(ArtifactInfo)}
    names |= {f"accuracy.{field.name}" for field in fields(Accuracy)}
    names |= {f"quantization.{field.name}" for field in fields(Quantization)}
    assert tested == names


@pytest.mark.parametrize("path", NUMBERS)
def test_what_is_no_number_in_range_is_refused_by_name(path: str) -> None:
    for wrong in NOT_NUMBERS:
        if wrong is None and path in NULLABLE:
            continue
        with pytest.raises(ArtifactError, match=rf"{path.split('.')[-1]} must be|is not a number"):
            info_from_json(text_with(path, wrong))


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("wrong", [5, None, ["fp32"], {}, "a\nb", "\ud800", "x" * 2000])
def test_what_is_no_short_text_is_refused_by_name(path: str, wrong: object) -> None:
    with pytest.raises(ArtifactError, match=f"{path.split('.')[-1]} must be"):
        info_from_json(text_with(path, wrong))


@pytest.mark.parametrize(
    ("path", "wrong", "message"),
    [
        ("scale", 0, "scale must be a whole number from 1 to 16, got 0"),
        ("scale", 10**9, "scale must be a whole number from 1 to 16, got 1000000000"),
        ("scale", 2.0, r"scale must be a whole number .*, got 2\.0"),
        ("size_multiple", 30000, "size_multiple must be a whole number from 1 to 64, got 30000"),
        ("size_multiple", 48, "side must be a multiple of size_multiple, 48, got 64"),
        ("overlap_px", 1 << 20, "overlap_px must be .* from 0 to 1024"),
        ("side", 1 << 16, "side must be null or a whole number from 1 to 4096"),
        ("elements_per_pixel", 0, "elements_per_pixel must be null or a number from 1 to 1e.06"),
        ("accuracy", 5, "accuracy must be a JSON object, got 5"),
        ("accuracy", "x", "accuracy must be a JSON object, got 'x'"),
        ("accuracy", [], "accuracy must be a JSON object, got list"),
        ("quantization", 5, "quantization must be a JSON object, got 5"),
        ("quantization.kept", "first", "kept must be a list of at most"),
        ("quantization.kept", [1], "kept must be a list of at most"),
        ("quantization.bias_corrected", 1, "bias_corrected must be true or false, got 1"),
        ("format", 2, "reads artifact format 1, the file has 2"),
        ("format", True, "format must be a whole number from 1 to 1, got True"),
        ("format", "x" * 10_000, r"the file has 'x{79}\.\.\."),
        ("io", "uint16", "io must be one of uint8, float32, got 'uint16'"),
    ],
)
def test_values_that_no_artifact_has_are_refused(path: str, wrong: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        info_from_json(text_with(path, wrong))


def test_a_missing_field_is_named() -> None:
    values = json.loads(FULL.to_json())
    for name in ("model", "scale", "io"):
        less = {key: value for key, value in values.items() if key != name}
        with pytest.raises(ArtifactError, match=f"the metadata must have {name}"):
            info_from_json(json.dumps(less))
    del values["accuracy"]["tiles"]
    with pytest.raises(ArtifactError, match="accuracy must have tiles"):
        info_from_json(json.dumps(values))
    values["accuracy"] = values["quantization"] = None
    for name in ("noise", "layout", "color"):
        del values[name]
    info = info_from_json(json.dumps(values))
    assert (info.accuracy, info.quantization, info.noise) == (None, None, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"format": 1, "format": 1}', "given twice"),
        ('{"format": NaN}', "NaN is not a number"),
        ('{"format": -Infinity}', "-Infinity is not a number"),
        ('{"format": 1e999}', "the file has inf"),
        ('{"format": %s}' % ("9" * 5000), "cannot be used|the file has 9"),
        ("[]", "must be a JSON object, got list"),
        ("5", "must be a JSON object, got 5"),
        ("", "cannot be used"),
        (" " * (1 << 20) + "{}", "at most 1048576 characters"),
    ],
)
def test_what_is_no_plain_json_object_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        info_from_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(name=st.sampled_from(sorted(asdict(FULL))), value=JSON)
def test_any_value_is_read_or_refused(name: str, value: object) -> None:
    text = json.dumps({**json.loads(FULL.to_json()), name: value})
    with contextlib.suppress(ArtifactError):
        assert isinstance(info_from_json(text), ArtifactInfo)


# ---- the picture that travels with an artifact ----


def chunk(kind: bytes, content: bytes, *, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return struct.pack(">I", size) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *more: bytes, depth: int = 8, color: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more)


def check_of(image: bytes | np.ndarray, answer: bytes | np.ndarray, batch: object = 1) -> str:
    def encode(picture: bytes | np.ndarray) -> dict[str, object]:
        if isinstance(picture, np.ndarray):
            picture = cv2.imencode(".png", picture)[1].tobytes()
        return {"batch": batch, "png": base64.b64encode(picture).decode()}

    return json.dumps({"image": encode(image), "answer": encode(answer)})


SMALL, LARGE = np.zeros((4, 6, 3), np.uint8), np.zeros((8, 12, 3), np.uint8)


def test_a_sound_self_check_is_read() -> None:
    check = selfcheck_from_json(check_of(SMALL, LARGE), make_info())
    assert (check.image.shape, check.answer.shape) == ((1, 4, 6, 3), (1, 8, 12, 3))
    random = np.random.default_rng(0).random((2, 4, 6, 3), np.float32)
    float_check = SelfCheck(random, random.repeat(2, 1).repeat(2, 2))
    again = selfcheck_from_json(float_check.to_json(), make_info(io="float32"))
    np.testing.assert_allclose(again.image, random, atol=1 / 65535)  # one level of 16 bits
    np.testing.assert_allclose(again.answer, float_check.answer, atol=8.5 / 65535)
    assert measure_psnr(again.answer, float_check.answer)[1] > 80
    levels = np.rint(again.answer * 65535)
    assert (levels[levels < 65535] % 16 == 0).all()
    white = SelfCheck(np.ones_like(random), np.ones((2, 8, 12, 3), np.float32))
    assert (selfcheck_from_json(white.to_json(), make_info(io="float32")).answer == 1).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (check_of(SMALL, SMALL), "does not match: .* gives"),
        (check_of(SMALL, LARGE[:, :6]), "does not match: .* gives"),
        (check_of(SMALL[:3], LARGE), "tiny does not accept images of 3 x 6"),
        (check_of(SMALL[..., 0], LARGE), "image must be an RGB PNG of 8 bits"),
        (check_of(np.zeros((4, 6, 4), np.uint8), LARGE), "image must be an RGB PNG of 8 bits"),
        (check_of(SMALL, LARGE.astype(np.uint16)), "answer must be an RGB PNG of 8 bits"),
        (check_of(SMALL, LARGE, batch=3), "image must hold 3 images stacked vertically"),
        (check_of(SMALL, LARGE, batch=0), "batch must be a whole number from 1 to 64, got 0"),
        (check_of(SMALL, LARGE, batch=True), "batch must be a whole number"),
        (check_of(SMALL, LARGE, batch="1"), "batch must be a whole number"),
        (check_of(png(60000, 60000), LARGE), "image must have from 1 to 8388608 pixels, claims"),
        (check_of(png(0, 6), LARGE), "image must have from 1 to 8388608 pixels"),
        (check_of(png(6, 4), LARGE), "image must be a valid PNG of 6 x 4"),
        (check_of(png(6, 4, chunk(b"IDAT", b"", length=0xFFFFFFE0)), LARGE), "complete PNG image"),
        (check_of(png(6, 4, chunk(b"iCCP", b"x")), LARGE), "without other chunks"),
        (check_of(png(6, 4, png(9999, 9999)[8:]), LARGE), "one header"),
        (check_of(b"GIF89a" + bytes(20), LARGE), "image must be a PNG image"),
        (check_of(b"", LARGE), "image must be a PNG image"),
        ('{"image": 5, "answer": 5}', "image must be a JSON object, got 5"),
        ('{"image": {"batch": 1}}', "image must have png"),
        ('{"image": {"batch": 1, "png": "%"}, "answer": {"batch": 1, "png": "%"}}', "base64|ary d"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_self_check_that_claims_or_holds_something_else_is_refused(
    text: str, message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        selfcheck_from_json(text, make_info())


def test_a_self_check_of_a_network_of_one_side_has_that_side() -> None:
    face = make_info(scale=1, side=4, kind="face")
    square = np.zeros((4, 4, 3), np.uint8)
    assert selfcheck_from_json(check_of(square, square), face).image.shape == (1, 4, 4, 3)
    for wrong in (SMALL, LARGE[:, :8]):
        with pytest.raises(ArtifactError, match="tiny does not accept images of"):
            selfcheck_from_json(check_of(wrong, wrong), face)


def test_a_damaged_self_check_is_an_artifact_error_when_it_is_asked_for(tiny_x2: Artifact) -> None:
    model = onnx.load_from_string(tiny_x2.onnx)
    onnx.helper.set_model_props(model, {METADATA_KEY: tiny_x2.info.to_json(), SELFCHECK_KEY: "5"})
    with pytest.raises(ArtifactError, match="self-check cannot be used"):
        artifact_from_bytes(model.SerializeToString()).read_selfcheck()
    assert tiny_artifact().read_selfcheck() is None


def test_pictures_of_other_shapes_are_not_compared() -> None:
    with pytest.raises(ShapeError, match=r"must have shape \(1, 8, 12, 3\), got \(1, 4, 6, 3\)"):
        measure_psnr(SMALL[None], LARGE[None])
