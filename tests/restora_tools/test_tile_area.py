"""Facts about the area that tiles compute in addition to a photo."""

import json
from pathlib import Path

import pytest

from restora.artifact import read_artifact
from restora.models import DEFAULT_MODEL, find_artifact
from restora_tools.tile_area import (
    PHOTOS,
    RESULTS,
    measure,
    measure_all,
    random_sizes,
    ways_for,
    ways_for_x4plus,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("overlap", [8, 32])
def test_tiles_compute_at_most_an_eighth_more_than_a_photo_of_2_mp(overlap: int) -> None:
    used = [way for way in ways_for(overlap) if way.used]
    assert len(used) == 3
    for way in used:
        assert max(measure(way, *size) for size in random_sizes()) <= 1.12


def test_in_8_gib_the_largest_network_computes_at_most_a_seventh_more_than_a_photo() -> None:
    *_, largest = ways_for_x4plus()
    assert largest.name.endswith("8 GiB")
    for size in (*PHOTOS.values(), *random_sizes()):
        assert measure(largest, *size) <= 1.15


def test_the_bundled_model_overlaps_as_in_the_table() -> None:
    assert read_artifact(find_artifact(DEFAULT_MODEL, "uint8")).info.overlap_px == 8


def test_the_committed_figures_are_those_of_this_version() -> None:
    committed = json.loads((ROOT / RESULTS).read_text())["rows"]
    assert committed == measure_all()
