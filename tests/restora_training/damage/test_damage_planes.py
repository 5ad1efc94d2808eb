"""Planes that a detector learns with, and contents: exact, and of the right kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from restora_calibration.photos import TRAINING
from restora_export.reference.damage_detector import DamageDetector, thin_parts
from restora_training.damage.contents import Contents
from restora_training.damage.samples import stack
from restora_training.damage.thin import stack_thin, stack_weights


@pytest.fixture(scope="module", autouse=True)
def two_photos() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("restora_training.damage.contents.TRAINING", TRAINING[:2])
        yield


def test_thin_parts_computed_ahead_are_those_that_the_network_computes() -> None:
    pictures = list(np.random.default_rng(1).integers(0, 256, (2, 24, 40, 3), np.uint8))
    tensor = torch.from_numpy(stack(pictures))
    ahead = torch.from_numpy(stack_thin(pictures))
    assert torch.allclose(ahead, thin_parts(tensor), atol=1e-6)  # rounding of float32
    network = DamageDetector((4, 4, 4)).eval()
    with torch.no_grad():
        assert torch.allclose(network.find(tensor, ahead), network(tensor), atol=1e-5)


def test_a_scratch_weighs_as_much_for_each_pixel_as_can_be_and_a_stain_less() -> None:
    mask = np.zeros((90, 160), bool)
    mask[:, 20:23] = True
    mask[:, 80:] = True
    (weights,) = stack_weights([mask])[0]
    assert (weights[:, 20:23] == 1).all()
    assert np.allclose(weights[45, 110:140], 0.2)


def test_contents_are_seeded_and_no_two_are_alike() -> None:
    contents = Contents(48)
    first, again = (
        [contents.cut(np.random.default_rng([3, number])) for number in range(24)] for _ in range(2)
    )
    assert all(cut.shape == (48, 48, 3) and cut.dtype == np.uint8 for cut in first)
    assert all(np.array_equal(one, same) for one, same in zip(first, again, strict=True))
    assert len({cut.tobytes() for cut in first}) == 24
