"""Options of runs are checked when they are made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from restora.errors import OptionError
from restora.image import PhotoLimits
from restora.jobs.options import RunOptions


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ext", "gif", "'auto', 'jpg', 'png', 'webp', 'tiff'"),
        ("ext", None, "ext must be one of"),
        ("suffix", "a/b", "part of a file name"),
        ("suffix", "a\0", "part of a file name"),
        ("suffix", 3, "part of a file name"),
        ("quality", 0, "1..100"),
        ("quality", 101, "1..100"),
        ("outscale", math.inf, "outscale"),
        ("outscale", 0, "outscale"),
        ("on_error", "ask", "'skip', 'stop'"),
        ("memory", 0, "memory"),
        ("memory", "2G", "memory"),
        ("limits", 5, "PhotoLimits"),
        ("overwrite", "yes", "True or False"),
        ("retry_failed", 1, "True or False"),
        ("recursive", None, "True or False"),
        ("compare", "", "True or False"),
        ("devices", "gpu:0", "devices must be 'all' or names of GPUs"),
        ("devices", (), "devices must be 'all' or names of GPUs"),
        ("devices", ("gpu:0", "cpu"), "devices must be GPUs"),
        ("devices", ("gpu", "gpu:0"), "must be named once"),
        ("devices", (0, 1), "device must be one of"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_what_can(
    name: str, value: object, words: str
) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(OptionError, match=words.replace(".", r"\.")):
        RunOptions(**options)


def test_valid_values_are_kept_as_plain_types() -> None:
    text: Any = "rows.jsonl"
    assert RunOptions(devices=("gpu", "gpu:2")).devices == ("gpu:0", "gpu:2")
    assert RunOptions(devices="all").devices == "all"
    options = RunOptions(
        ext="tiff", suffix="x", outscale=3, memory=1, limits=PhotoLimits(9), manifest=text
    )
    assert options.outscale == 3.0
    assert isinstance(options.outscale, float)
    assert options.manifest == Path("rows.jsonl")
    assert options.limits.max_pixels == 9
    assert RunOptions() == RunOptions(ext="auto", quality=95, on_error="skip")


def test_options_are_named() -> None:
    """Fifteen of them: a position says nothing."""
    make: Any = RunOptions
    with pytest.raises(TypeError):
        make("png")
