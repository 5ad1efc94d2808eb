"""Facts about the precisions that are tried, and what they are built from."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plans_fakes import WIDE, checked_artifact, spoil, working_tensorrt
from restora.backends.options import PlanOptions, SessionOptions
from restora.backends.tensorrt.build_options import BuildOptions, check_capability
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.open import session_on
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plan
from restora.errors import OptionError
from tensorrt_double import VERSIONS, FakeTensorRT

TYPED = VERSIONS[1:]
H100 = DeviceFacts("NVIDIA H100", "9.0", 132, 80 << 30, 12040, "10.13.3")


def precisions(trt: FakeTensorRT, asked: Any, *family: str) -> list[tuple[str, str]]:
    """Precision and the precision of the artifact of each candidate."""
    artifacts = [checked_artifact(name) for name in family]
    rungs = plan_candidates(trt, BuildOptions(precision=asked), artifacts)
    return [(rung.options.precision, rung.artifact.info.precision) for rung in rungs]


@pytest.mark.parametrize("version", TYPED)
def test_int8_has_fp16_around_it_where_an_artifact_says_so(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    trt = working_tensorrt(version)
    family = ("fp32", "int8", "int8_fp16", "fp16")
    with caplog.at_level(logging.WARNING):
        found = precisions(trt, "int8", *family)
    assert found == [(name, name) for name in ("int8_fp16", "int8", "fp16", "fp32")]
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        assert precisions(trt, "int8", "fp32", "int8") == [("int8", "int8"), ("fp32", "fp32")]
    assert "tiny that are not INT8 run in fp32, which is slow" in caplog.text
    assert "make one with `restora calibrate`, with the fp16 artifact beside" in caplog.text
    with pytest.raises(OptionError, match=r"int8 on TensorRT .* needs the int8 artifact"):
        precisions(trt, "int8", "fp32", "fp16")


def test_int8_of_8_6_is_built_with_both_flags_from_the_int8_artifact(tmp_path: Path) -> None:
    trt = working_tensorrt("8.6")
    device, cache = Device(trt.world.cuda), PlanCache(tmp_path / "plans")
    family = ("fp32", "int8", "int8_fp16")
    assert precisions(trt, "int8", *family) == [
        ("int8_fp16", "int8"),
        ("int8", "int8"),
        ("fp16", "fp32"),
        ("mixed", "fp32"),
        ("fp32", "fp32"),
    ]
    rungs = plan_candidates(
        trt, BuildOptions(precision="int8"), [checked_artifact(name) for name in family]
    )
    _, rung = prepare_plan(trt, device, cache, rungs, WIDE)
    assert rung.options.precision == "int8_fp16"
    assert {"INT8", "FP16"} <= trt.world.builds[-1]["flags"]
    spoil(trt, "fp16")
    cache.clear()
    _, rung = prepare_plan(trt, device, cache, rungs, WIDE)
    assert rung.options.precision == "int8"
    assert trt.world.builds[-1]["flags"] == {"INT8"}


@pytest.mark.parametrize("version", TYPED)
def test_a_session_in_int8_says_what_is_around(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
    trt = working_tensorrt(version)
    plans = PlanOptions(tile=32, batches=(1,), max_tile=64, graphs=False)
    family = [checked_artifact(name) for name in ("fp32", "int8", "int8_fp16")]
    options = SessionOptions(precision="int8", plans=plans)
    session, precision = session_on(trt, Device(trt.world.cuda), family, options)
    session.close()
    assert precision == "int8_fp16"
    assert b'"precision": "int8_fp16"' in trt.world.builds[0]["onnx"]


@pytest.mark.parametrize("version", TYPED)
def test_fp8_is_held_to_its_own_gate_and_gives_way_to_fp16(version: str, tmp_path: Path) -> None:
    trt = working_tensorrt(version)
    device, cache = Device(trt.world.cuda), PlanCache(tmp_path / "plans")
    artifacts = [checked_artifact(name) for name in ("fp32", "fp16", "fp8")]
    rungs = plan_candidates(trt, BuildOptions(precision="fp8"), artifacts)
    right = trt.world.network
    trt.world.network = lambda image: right(image) // 8 * 8 + 3  # about 41 dB
    _, rung = prepare_plan(trt, device, cache, rungs, WIDE)
    assert rung.options.precision == "fp8"
    cache.clear()
    trt.world.network = right
    spoil(trt, "fp8")
    _, rung = prepare_plan(trt, device, cache, rungs, WIDE)
    assert rung.options.precision == "fp16"


def test_fp8_is_refused_where_tensorrt_cannot_read_it() -> None:
    trt = working_tensorrt("8.6")
    with pytest.raises(OptionError, match=r"8\.6\.0 cannot read FP8 artifacts, 10 and 11 can"):
        precisions(trt, "fp8", "fp32", "fp8")
    with pytest.raises(OptionError, match="restora calibrate --format fp8"):
        precisions(working_tensorrt("10.16"), "fp8", "fp32", "fp16")


@pytest.mark.parametrize(
    ("capability", "fits"),
    [("8.6", False), ("8.7", False), ("8.9", True), ("9.0", True), ("10.0", True), ("12.0", True)],
)
def test_fp8_needs_ada_or_later(capability: str, fits: bool) -> None:
    options, device = BuildOptions(precision="fp8"), replace(H100, capability=capability)
    check_capability(BuildOptions(precision="int8_fp16"), device)
    if fits:
        check_capability(options, device)
        return
    with pytest.raises(OptionError, match=r"needs a GPU of compute capability 8\.9"):
        check_capability(options, device)


def test_a_gpu_without_fp8_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = working_tensorrt("10.16")
    device = Device(trt.world.cuda)
    facts = replace(device.facts("10.16.1.11"), capability="8.7")
    monkeypatch.setattr(Device, "facts", lambda _self, _version: facts)
    artifacts = [checked_artifact(name) for name in ("fp32", "fp8")]
    rungs = plan_candidates(trt, BuildOptions(precision="fp8"), artifacts)
    with pytest.raises(OptionError, match=r"NVIDIA Double has 8\.7"):
        prepare_plan(trt, device, PlanCache(tmp_path / "plans"), rungs, WIDE)
    assert trt.world.builds == []
