"""Facts about the options of a video: they are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from restora.errors import OptionError
from restora.video.options import VideoOptions


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("encoder", "rawvideo", "must be one of 'auto', 'libx264'"),
        ("crf", 64, r"must be a whole number in 0\.\.63, got 64"),
        ("crf", True, "must be a whole number"),
        ("preset", "", "must be a name or None"),
        ("outscale", float("inf"), "must be a number above 0"),
        ("skip_duplicates", "no", "must be True or False"),
        ("hardware", 1, "must be a name or None"),
        ("memory", 0, "must be a whole number of at least 1"),
        ("segment_frames", 0, "must be a whole number of at least 1"),
        ("overwrite", None, "must be True or False"),
    ],
)
def test_a_value_that_cannot_work_is_refused_when_the_options_are_made(
    name: str, value: Any, words: str
) -> None:
    with pytest.raises(OptionError, match=f"{name} {words}"):
        VideoOptions(**{name: value})
