"""Facts about the area that tiles compute in addition to a photo."""

import json
from pathlib import Path

import pytest

from restora_tools.tile_area import RESULTS, measure, measure_all, random_sizes, ways_for

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("overlap", [8, 32])
def test_tiles_compute_at_most_an_eighth_more_than_a_photo_of_2_mp(overlap: int) -> None:
    used = [way for way in ways_for(overlap) if way.used]
    assert len(used) == 3
    for way in used:
        assert max(measure(way, *size) for size in random_sizes()) <= 1.12


def test_the_committed_figures_are_those_of_this_version() -> None:
    committed = json.loads((ROOT / RESULTS).read_text())["rows"]
    assert committed == measure_all((8, 32))
