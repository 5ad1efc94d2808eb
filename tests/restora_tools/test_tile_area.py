"""Facts about the area that tiles compute in addition to a photo."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
_WAYS = {way.name: way for way in ways_for_x4plus()}


@pytest.mark.parametrize("overlap", [16, 32])
def test_tiles_compute_at_most_an_eighth_more_than_a_photo_of_2_mp(overlap: int) -> None:
    used = [way for way in ways_for(overlap) if way.used]
    assert len(used) == 3
    for way in used:
        assert max(measure(way, *size) for size in random_sizes()) <= 1.12


@pytest.mark.parametrize("runtime", ["ONNX Runtime", "OpenVINO bf16"])
def test_in_the_default_memory_the_largest_network_computes_at_most_1_15_times_a_photo(
    runtime: str,
) -> None:
    """On the runtimes that `auto` takes for it; any photo of 1 MP or more, no panorama."""
    for size in (*PHOTOS.values(), *random_sizes()):
        assert measure(_WAYS[f"{runtime}, 6 GiB"], *size) <= 1.15


@given(pixels=st.floats(1e6, 60e6), aspect=st.floats(0.4, 1), upright=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_size_from_1_mp_on_computes_more(pixels: float, aspect: float, upright: bool) -> None:
    width = int((pixels / aspect) ** 0.5) + 1
    sides = (int(width * aspect) + 1, width)
    for name in ("ONNX Runtime, 6 GiB", "OpenVINO bf16, 6 GiB"):
        assert measure(_WAYS[name], *sides[:: 1 if upright else -1]) <= 1.15


def test_the_bundled_model_overlaps_as_in_the_table() -> None:
    assert read_artifact(find_artifact(DEFAULT_MODEL, "uint8")).info.overlap_px == 16


def test_the_committed_figures_are_those_of_this_version() -> None:
    committed = json.loads((ROOT / RESULTS).read_text())["rows"]
    assert committed == measure_all()
