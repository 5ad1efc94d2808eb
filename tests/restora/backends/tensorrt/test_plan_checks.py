"""Facts about the self-check of plans: every picture of it counts, whatever batch a plan takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakes import open_on_cpu, tiny_artifact, with_selfcheck
from plans_fakes import WIDE, working_tensorrt
from restora.artifact import SelfCheck
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.candidates import plan_candidates
from restora.backends.tensorrt.check import split_selfcheck
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.prepare import prepare_plan
from restora.backends.tensorrt.profiles import Profile
from restora.errors import AccuracyGateError


def numbered(count: int) -> SelfCheck:
    image = np.zeros((count, 8, 8, 3), np.uint8)
    image[:, 0, 0, 0] = range(count)
    return SelfCheck(image, image)


@pytest.mark.parametrize(
    ("count", "batches", "expected"),
    [
        (5, (1, 1), [[0], [1], [2], [3], [4]]),
        (5, (1, 4), [[0, 1, 2, 3], [4]]),
        (5, (4, 4), [[0, 1, 2, 3], [4, 0, 1, 2]]),
        (2, (4, 8), [[0, 1, 0, 1]]),
        (5, (1, 8), [[0, 1, 2, 3, 4]]),
    ],
)
def test_every_picture_is_in_a_batch_that_the_plan_takes(
    count: int, batches: tuple[int, int], expected: list[list[int]]
) -> None:
    shapes = [(batch, 8, 8, 3) for batch in (*batches, batches[1])]
    found = split_selfcheck(numbered(count), Profile(*shapes))
    assert [batch.image[:, 0, 0, 0].tolist() for batch in found] == expected
    for batch in found:
        assert np.array_equal(batch.image, batch.answer)


def test_pictures_of_a_size_that_the_plan_does_not_take_give_no_batch() -> None:
    shape = (1, 16, 16, 3)
    assert split_selfcheck(numbered(2), Profile(shape, shape, shape)) == []


def test_a_plan_for_single_pictures_that_fails_the_last_one_is_refused(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 200, (2, 16, 24, 3), np.uint8)
    answer = open_on_cpu(tiny_artifact()).run(image)
    answer[1] += np.uint8(1)
    wrong = with_selfcheck(tiny_artifact(), SelfCheck(image, answer))
    trt = working_tensorrt("11.4")
    rungs = plan_candidates(trt, BuildOptions(), [wrong])
    assert WIDE.largest[0] == 1
    with pytest.raises(AccuracyGateError, match=r"99\.1 dB mean and 48\.1 dB min"):
        prepare_plan(trt, Device(trt.world.cuda), PlanCache(tmp_path), rungs, WIDE)
