"""Facts about parameters of requests: the command's names, each value checked, none guessed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from restora.cli.app import make_command
from restora.errors import OptionError
from restora.serve.parameters import FIXED, SCHEMA, PhotoParameters, parse_parameters


def test_text_and_json_give_the_same_parameters() -> None:
    text = [("outscale", "1.5"), ("quality", "80"), ("faces", "no"), ("ext", "jpg")]
    values = [("outscale", 1.5), ("quality", 80), ("faces", False), ("ext", "jpg")]
    expected = PhotoParameters(outscale=1.5, quality=80, faces=False, ext="jpg")
    assert parse_parameters(text) == parse_parameters(values) == expected


def test_names_may_have_hyphens_as_on_the_command_line() -> None:
    found = parse_parameters([("strip-metadata", "true"), ("face-strength", "0.5")])
    assert found == PhotoParameters(strip_metadata=True, face_strength=0.5)


def test_every_parameter_is_described_and_has_the_default_that_the_description_says() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(PhotoParameters)}
    assert set(fields) == set(SCHEMA)
    for name, schema in SCHEMA.items():
        assert fields[name] == schema.get("default"), name


def test_names_are_those_of_the_command() -> None:
    command = make_command().load("restore")
    flags = {name.lstrip("-") for p in command.params for name in (*p.opts, *p.secondary_opts)}
    for name in (*SCHEMA, *FIXED):
        assert name.replace("_", "-") in flags, name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("outscale", "0", "outscale must be a number above 0"),
        ("outscale", "nan", "outscale must be a number above 0"),
        ("outscale", "two", 'outscale must be a number, got "two"'),
        ("outscale", True, "outscale must be a number"),
        ("outscale", 10**400, "outscale must be a number up to"),
        ("face_strength", 2, "face strength must be a finite number in 0..1"),
        ("eye_dist_threshold", "inf", "eye distance must be a finite number"),
        ("quality", "0", "quality must be a whole number in 1..100, got 0"),
        ("quality", "9" * 5000, "quality must be a whole number"),
        ("quality", 80.0, "quality must be a whole number"),
        ("quality", "٣", "quality must be a whole number"),
        ("ext", "gif", "ext must be one of"),
        ("ext", 3, "ext must be text"),
        ("alpha_upsampler", "bicubic", "alpha_upsampler must be one of"),
        ("faces", "maybe", 'faces must be true or false, got "maybe"'),
        ("faces", 1, "faces must be true or false"),
        ("tile", "512", "tile is set when the service starts"),
        ("upscale", "2", "there is no parameter 'upscale'; there are model, outscale"),
    ],
)
def test_what_cannot_work_is_an_option_error(name: str, value: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_parameters([(name, value)])


def test_a_name_given_twice_must_have_one_value() -> None:
    assert parse_parameters([("quality", "80"), ("quality", 80)]).quality == 80
    with pytest.raises(OptionError, match="quality is given twice, as 80 and as 81"):
        parse_parameters([("quality", "80"), ("quality", "81")])


def test_aligned_faces_need_faces() -> None:
    with pytest.raises(OptionError, match="aligned faces cannot be restored with faces=false"):
        parse_parameters([("aligned", True), ("faces", False)])
