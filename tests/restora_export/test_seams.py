"""Facts about the overlap that is measured for a network."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from fakes import NearestSession
from restora.backends import Batch
from restora_export import export, seams
from restora_export.seams import OVERLAPS, SeamError, choose_overlap, load_long_photo


class FarSession(NearestSession):
    """Each pixel depends on the pixel `reach` rows above it, and on nothing if there is none."""

    def __init__(self, reach: int, *, multiple: int = 1, share: float = 0.5) -> None:
        super().__init__(scale=1, multiple=multiple)
        self.reach, self.share = reach, share

    def run(self, batch: Batch) -> Batch:
        result = super().run(batch).astype(np.float32)
        far = np.zeros_like(result)
        far[:, self.reach :] = result[:, : -self.reach]
        return (result * (1 - self.share) + far * self.share).astype(np.uint8)


# a tile counts from a quarter of the overlap on, and little at first
@pytest.mark.parametrize(("reach", "overlap"), [(1, 8), (20, 64), (30, 80), (60, 160)])
def test_the_smallest_overlap_without_seams_is_found(reach: int, overlap: int) -> None:
    found = choose_overlap(FarSession(reach))
    assert found.overlap_px == overlap
    assert found.psnr >= 55


def test_the_whole_photo_is_restored_once() -> None:
    session = FarSession(30)
    choose_overlap(session)
    whole = (1, *load_long_photo().shape)
    assert session.shapes.count(whole) == 1
    assert len(session.shapes) <= 1 + 2 * 5  # two tiles for each overlap that is tried


def test_a_network_that_looks_too_far_gets_the_largest_overlap_and_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = choose_overlap(FarSession(120))
    assert found.overlap_px == OVERLAPS[-1]
    assert found.psnr < 55
    with caplog.at_level(logging.WARNING):
        export.warn_of_seams("far", found)
    assert "with the largest overlap, 192 pixels" in caplog.text
    assert "`restora restore --tile 0`" in caplog.text


def test_an_overlap_that_is_enough_needs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    export.warn_of_seams("near", SeamError(96, 55.0, 0.1))
    assert not caplog.records


def test_tiles_stay_on_the_grid_of_the_network() -> None:
    session = FarSession(20, multiple=4)
    choose_overlap(session)
    assert all(height % 4 == width % 4 == 0 for _, height, width, _ in session.shapes)


def test_the_photo_is_long_enough_for_two_tiles_of_the_largest_overlap() -> None:
    height, width, _ = load_long_photo().shape
    assert height > OVERLAPS[-1] + seams.BAND * 2
    assert (height, width) == (288, 96)
