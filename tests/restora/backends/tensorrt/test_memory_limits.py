"""Facts about the largest tile that a plan accepts on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import make_info
from plans_fakes import artifacts_for, working_tensorrt
from restora.backends.options import PlanOptions, SessionOptions
from restora.backends.tensorrt import prebuild
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.memory_limits import MAX_TILE, choose_max_tile, profiles_on
from restora.backends.tensorrt.open import session_on
from restora.backends.tensorrt.profiles import MAX_ELEMENTS

MIB = 1 << 20
# what these GPUs report
ORIN_8, ORIN_16, RTX_8, RTX_24, H100 = (
    size * MIB for size in (7_620, 15_656, 8_188, 24_564, 81_559)
)
X4 = make_info(scale=4, size_multiple=1, elements_per_pixel=64 * 16.0)


@pytest.mark.parametrize(
    ("memory", "integrated", "precision", "expected"),
    [
        (ORIN_8, True, "fp16", 512),
        (ORIN_16, True, "fp16", 768),
        (RTX_8, False, "fp16", 640),
        (RTX_24, False, "fp16", 1024),
        (H100, False, "fp16", 1024),
        (ORIN_8, True, "fp32", 384),
        (ORIN_8, True, "int8", 384),
        (ORIN_8, True, "int8_fp16", 512),
        (RTX_24, False, "mixed", 832),
    ],
)
def test_the_largest_tile_fits_into_the_memory(
    memory: int, integrated: bool, precision: Any, expected: int
) -> None:
    side = choose_max_tile(X4, precision=precision, memory_bytes=memory, integrated=integrated)
    assert side == expected
    tensor = 64 * (4 * side) ** 2 * (4 if precision in ("fp32", "mixed", "int8") else 2)
    assert 3 * tensor <= memory // (4 if integrated else 3)


def choose(memory: int, **changes: Any) -> int:
    info = make_info(**{"scale": 4, "size_multiple": 1, **changes})
    return choose_max_tile(info, precision="fp16", memory_bytes=memory, integrated=False)


def test_a_smaller_scale_allows_larger_tiles() -> None:
    assert choose(1 << 30, scale=2, elements_per_pixel=64 * 4.0) == 448
    assert choose(1 << 30, elements_per_pixel=64 * 16.0) == 192


def test_without_a_measurement_the_features_are_assumed() -> None:
    assert choose(1 << 30, elements_per_pixel=None) == 192


def test_no_tensor_exceeds_what_tensorrt_can_hold() -> None:
    huge = choose(1 << 45, elements_per_pixel=2**14 + 0.0)
    assert huge**2 * 2**14 <= MAX_ELEMENTS < (huge + 64) ** 2 * 2**14
    assert choose(1 << 45) == MAX_TILE


def test_small_sides_and_odd_multiples_stay_valid() -> None:
    assert choose(64 * MIB, size_multiple=4) == 60
    assert choose(1 << 30, size_multiple=3) == 240
    assert choose(1000, size_multiple=2) == 2
    assert choose(1000, side=512, size_multiple=1) == 512


@pytest.mark.parametrize(
    ("changes", "asked", "expected"),
    [
        ({}, {}, [(1, 448), (1, 448)]),
        ({}, {"tile": 256}, [(1, 256), (1, 256)]),
        ({}, {"tile": 256, "batches": (1, 4)}, [(1, 256), (4, 256), (1, 256)]),
        ({}, {"max_tile": 1024}, [(1, 512), (1, 512)]),
        ({}, {"tile": 600}, [(1, 600)]),
        ({"size_multiple": 3}, {"max_tile": 600}, [(1, 510), (1, 510)]),
        ({"side": 512, "kind": "face"}, {}, [(1, 512), (4, 512), (4, 512)]),
    ],
)
def test_full_tiles_have_the_size_that_does_most_of_the_work(
    changes: dict[str, Any], asked: dict[str, Any], expected: list[tuple[int, int]]
) -> None:
    device = Device(working_tensorrt("10.16").world.cuda)
    info = make_info(**{"scale": 2, "size_multiple": 2, "elements_per_pixel": 256.0, **changes})
    profiles = profiles_on(device, info, "fp16", **asked)
    assert [profile.best[:2] for profile in profiles][: len(expected)] == expected
    assert profiles[-1].best[1] == expected[-1][1]


@pytest.mark.parametrize(("integrated", "expected"), [(False, 576), (True, 448)])
def test_plans_are_built_for_the_memory_of_the_gpu(
    integrated: bool, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both ways to build: ahead, and when a session needs them."""
    trt = working_tensorrt("10.16")
    trt.world.cuda.integrated = integrated
    trt.world.cuda.memory_bytes = 1520 * MIB
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path))
    family = artifacts_for(trt)
    monkeypatch.setattr(prebuild, "require_driver", lambda: None)
    monkeypatch.setattr(prebuild, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(prebuild, "import_pycuda", lambda: trt.world.cuda)
    monkeypatch.setattr(prebuild, "find_precisions", lambda _model: family)
    options = BuildOptions(precision="fp16")
    cache = PlanCache(tmp_path / "ahead")
    made = prebuild.build_plans("tiny", options, tile=32, batches=[1], cache=cache)
    assert max(plan.facts["profile"]["largest"][1] for plan in made) == expected
    plans = PlanOptions(tile=32, batches=(1,), graphs=False)
    session, _ = session_on(trt, Device(trt.world.cuda), family, SessionOptions(plans=plans))
    assert session.limits.max_tile == expected
    session.close()
