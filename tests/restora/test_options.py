"""Facts about options: a value that cannot work is refused when they are made, and it says why."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from fakes import NearestSession
from restora.backends import CpuOptions, PlanOptions, SessionOptions
from restora.errors import OptionError
from restora.faces.options import FaceOptions
from restora.options import RestoreOptions
from restora.tiling import Tiling
from restora.upsample import Upsampler

NAN, INF = math.nan, math.inf
WRONG: list[tuple[type[Any], str, Any]] = [
    *[(RestoreOptions, "tile", wrong) for wrong in ("512", "big", -1, True, 2.0, NAN, 2**40, [8])],
    *[(RestoreOptions, "overlap", wrong) for wrong in (-1, True, 2.5, NAN, "8")],
    *[(RestoreOptions, "batch", wrong) for wrong in (0, -1, True, 1.0, NAN, "1", 10**9)],
    *[(RestoreOptions, "blend", wrong) for wrong in ("foo", "Cosine", None, 1, [], ("crop",))],
    *[(RestoreOptions, "published_tiles", wrong) for wrong in (1, "yes", None)],
    *[(RestoreOptions, "color", wrong) for wrong in ("sepia", None, True)],
    *[(RestoreOptions, "sharing", wrong) for wrong in ("all", None, True)],
    *[(RestoreOptions, "alpha", wrong) for wrong in ("bicubic", None, True)],
    *[(RestoreOptions, "resize", wrong) for wrong in ("area", None)],
    *[(RestoreOptions, "pre_pad", wrong) for wrong in (-1, 257, 12000, True, 1.5, None)],
    *[(RestoreOptions, "threads", wrong) for wrong in (-1, True, 1.5, None, 10**6)],
    *[(RestoreOptions, "backend", wrong) for wrong in ("gpu", "CPU", None, {})],
    *[(RestoreOptions, "precision", wrong) for wrong in ("half", None, 16)],
    *[(RestoreOptions, "device", wrong) for wrong in ("gpu:-1", True, 0, "cuda", "gpu:999", "")],
    *[(RestoreOptions, "denoise_strength", wrong) for wrong in (-0.1, 1.5, True, NAN, "1")],
    *[(RestoreOptions, "max_output_pixels", wrong) for wrong in (0, -1, 1e9, NAN, None, True)],
    *[(RestoreOptions, "sharing", wrong) for wrong in ("", "Fair", "random", 1, None, True)],
    *[(RestoreOptions, "compat", wrong) for wrong in ("waifu2x", True, 1)],
    *[(RestoreOptions, "memory", wrong) for wrong in (0, -1, 1e9, True, "2G")],
    *[(FaceOptions, "strength", wrong) for wrong in (-0.1, 1.1, NAN, INF, True, "1", None)],
    *[(FaceOptions, "eye_dist_threshold", wrong) for wrong in (-1, NAN, INF, True, None)],
    *[(FaceOptions, "batch", wrong) for wrong in (0, True, 2.0, 10**9)],
    *[(FaceOptions, "long_side", wrong) for wrong in (8, True, 640.0, NAN)],
    *[(FaceOptions, "detector", wrong) for wrong in ("mtcnn", None)],
    *[(FaceOptions, "parse", wrong) for wrong in (1, None)],
    *[(FaceOptions, "only_center_face", wrong) for wrong in (1, None)],
    *[(FaceOptions, "published_paste", wrong) for wrong in (1, None)],
    *[(FaceOptions, "model", wrong) for wrong in (1, b"x", True)],
    *[(SessionOptions, "backend", wrong) for wrong in ("gpu", None)],
    *[(SessionOptions, "precision", wrong) for wrong in ("half", None)],
    *[(SessionOptions, "device", wrong) for wrong in ("gpu:", "GPU", None)],
    *[(SessionOptions, "gpu_wait", wrong) for wrong in ("poll", None, True)],
    *[(SessionOptions, "pinned_bytes", wrong) for wrong in (-1, 1e9, True, "2G")],
    *[(SessionOptions, "cpu", wrong) for wrong in (None, 4, PlanOptions())],
    *[(SessionOptions, "plans", wrong) for wrong in (None, 4)],
    *[(CpuOptions, "threads", wrong) for wrong in (-1, True, NAN)],
    *[(CpuOptions, "spinning", wrong) for wrong in (1, None)],
    *[(PlanOptions, "batches", wrong) for wrong in ((), 4, (0,), (1, True))],
    *[(PlanOptions, "opt_level", wrong) for wrong in (-1, 6)],
    *[(PlanOptions, "workspace_bytes", wrong) for wrong in (0, 1e9)],
    *[(Tiling, "blend", wrong) for wrong in ("foo", None)],
    *[(Tiling, "batch", wrong) for wrong in (0, True)],
    *[(Tiling, "max_pixels", wrong) for wrong in (0, -1, True, 1.5)],
    *[(Tiling, "other_cost", wrong) for wrong in (0, -1, NAN, INF, "2")],
]


@pytest.mark.parametrize(("kind", "name", "wrong"), WRONG)
def test_a_value_that_cannot_work_is_refused_when_it_is_set(
    kind: type[Any], name: str, wrong: Any
) -> None:
    with pytest.raises(OptionError, match=r"must|asked for") as caught:
        kind(**{name: wrong})
    assert repr(wrong) in str(caught.value) or name == "batches", str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (
            RestoreOptions,
            "backend",
            "'auto', 'tensorrt', 'cuda', 'openvino', 'cpu', 'ncnn', 'ncnn-vulkan'",
        ),
        (RestoreOptions, "device", "'auto', 'cpu', 'gpu' and 'gpu:N' with N in 0..255"),
        (RestoreOptions, "blend", "'linear', 'cosine', 'crop'"),
        (RestoreOptions, "precision", "'auto', 'fp32', 'fp16', 'mixed', 'bf16', 'int8', 'fp8'"),
        (RestoreOptions, "alpha", "'network', 'bilinear'"),
        (RestoreOptions, "resize", "'area-lanczos', 'lanczos4'"),
        (FaceOptions, "detector", "'auto', 'retinaface', 'yunet', 'centerface'"),
    ],
)
def test_the_message_lists_what_is_allowed(kind: type[Any], name: str, words: str) -> None:
    with pytest.raises(OptionError, match=f"{name} must be one of {words}, got 'x'"):
        kind(**{name: "x"})


def test_every_field_of_the_public_options_has_a_wrong_value_above() -> None:
    tried = {(kind, name) for kind, name, _ in WRONG}
    for kind in (RestoreOptions, FaceOptions, SessionOptions):
        assert {(kind, field.name) for field in fields(kind)} <= tried


def test_numbers_of_numpy_become_plain_ones() -> None:
    options = RestoreOptions(
        tile=np.int64(64),  # type: ignore[arg-type]
        overlap=np.uint8(8),  # type: ignore[arg-type]
        batch=np.int32(2),  # type: ignore[arg-type]
        threads=np.int64(1),  # type: ignore[arg-type]
        max_output_pixels=np.int64(10**6),  # type: ignore[arg-type]
    )
    assert options == RestoreOptions(64, 8, 2, threads=1, max_output_pixels=10**6)
    assert {type(value) for value in (options.tile, options.overlap, options.threads)} == {int}
    assert type(FaceOptions(strength=np.float32(0.5)).strength) is float  # type: ignore[arg-type]
    assert FaceOptions(strength=1).strength == 1.0


def test_a_tile_must_be_larger_than_its_overlap() -> None:
    with pytest.raises(OptionError, match="larger than its overlap, got tile 32 and overlap 32"):
        RestoreOptions(tile=32, overlap=32)
    RestoreOptions(tile=32, overlap=32, published_tiles=True)
    RestoreOptions(tile=0, overlap=32)


@pytest.mark.parametrize(
    ("device", "backend", "allowed"),
    [
        ("gpu", "cpu", "'tensorrt', 'cuda', 'ncnn-vulkan'"),
        ("gpu:1", "openvino", "'tensorrt', 'cuda', 'ncnn-vulkan'"),
        ("cpu", "cuda", "'openvino', 'cpu', 'ncnn'"),
        ("cpu", "ncnn-vulkan", "'openvino', 'cpu', 'ncnn'"),
        ("gpu", "ncnn", "'tensorrt', 'cuda', 'ncnn-vulkan'"),
    ],
)
def test_a_device_and_a_backend_that_does_not_run_on_it_are_refused(
    device: str, backend: Any, allowed: str
) -> None:
    with pytest.raises(OptionError, match=f"contradict each other: on this device run {allowed}"):
        RestoreOptions(backend=backend, device=device)


@pytest.mark.parametrize(
    ("device", "kept", "gpu"),
    [("auto", "auto", None), ("cpu", "cpu", None), ("gpu", "gpu", 0), ("gpu:0", "gpu", 0),
     ("gpu:3", "gpu:3", 3)],
)  # fmt: skip
def test_a_device_has_one_spelling_and_a_number(device: str, kept: str, gpu: int | None) -> None:
    options = RestoreOptions(device=device)
    assert (options.device, options.gpu) == (kept, gpu)
    assert options == RestoreOptions(device=kept)


@pytest.mark.parametrize("wrong", [{"alpha": "x"}, {"resize": "x"}, {"pre_pad": 257}])
def test_an_upsampler_refuses_them_too(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="must be"):
        Upsampler(NearestSession(), **wrong)


def test_a_limit_of_memory_bounds_the_results_in_pinned_memory() -> None:
    assert RestoreOptions(memory=8 << 30).session_options().pinned_bytes == 1 << 30
    assert RestoreOptions().session_options().pinned_bytes is None
