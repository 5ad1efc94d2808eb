"""Facts about the options of a run on a cluster: they are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from restora.cluster import ClusterOptions
from restora.cluster.restore import options_of_workers
from restora.errors import OptionError
from restora.options import RestoreOptions


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("workers", -1, "of at least 0"),
        ("cpus", 0, "of at least 1"),
        ("gpus_per_worker", float("inf"), "a finite number"),
        ("photos_per_task", 0, "of at least 1"),
        ("restarts", 1.5, "a whole number"),
        ("address", "", "a Ray address or None"),
        ("ext", "gif", "one of 'auto', 'jpg'"),
        ("quality", 101, r"in 1\.\.100, got 101"),
        ("outscale", 0, "a number above 0"),
        ("recursive", "yes", "True or False"),
        ("limits", None, "PhotoLimits"),
        ("memory", 0, "of at least 1"),
    ],
)
def test_a_value_that_cannot_work_is_refused_when_the_options_are_made(
    name: str, value: Any, words: str
) -> None:
    with pytest.raises(OptionError, match=f"^{name} must be .*{words}"):
        ClusterOptions(**{name: value})


def test_all_workers_have_the_same_limit_of_tiles() -> None:
    asked = RestoreOptions(memory=5 << 30)
    assert options_of_workers(asked, 2 << 30) == asked
    assert options_of_workers(RestoreOptions(), 2 << 30).memory == 2 << 30
    assert options_of_workers(RestoreOptions(), None).memory == 3 << 30
