"""Facts about the frame around a network on ncnn."""

from __future__ import annotations

import numpy as np
import pytest

from restora.backends.ncnn.frame import PictureFrame


@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 5), (32, 3), (75, 4)])
def test_planes_of_any_height_become_a_picture_rounded_and_clipped(height: int, width: int) -> None:
    planes = np.random.default_rng(height).uniform(-0.2, 1.2, (3, height, width))
    planes = planes.astype(np.float32)
    picture = np.empty((height, width, 3), np.uint8)
    expected = np.clip(np.floor(planes * np.float32(255) + np.float32(0.5)), 0, 255)
    PictureFrame("uint8", 1 / 255, 255, 0.5, 0, 255).write_picture(planes.copy(), picture, picture)
    assert (picture == expected.transpose(1, 2, 0)).all()


def test_float_pictures_are_only_clipped() -> None:
    planes = np.random.default_rng(0).uniform(-1, 2, (3, 40, 6)).astype(np.float32)
    picture = np.empty((40, 6, 3), np.float32)
    PictureFrame("float32", 1, 1, 0, 0, 1).write_picture(planes.copy(), picture, picture)
    assert (picture == np.clip(planes, 0, 1).transpose(1, 2, 0)).all()
