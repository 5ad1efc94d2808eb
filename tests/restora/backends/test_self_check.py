"""Facts about the self-check: what fails it is refused on every backend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fakes import PASSED, open_on_cpu, tiny_artifact, with_info, with_selfcheck
from restora.artifact import Artifact, SelfCheck
from restora.backends import SessionOptions, choose_session, onnxruntime_cuda
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.backends.self_check import require_accuracy
from restora.errors import AccuracyGateError, SessionError


def checked(*, off_by: int, precision: str) -> Artifact:
    """off_by: gray levels by which the answer is wrong; 10 levels are 28.1 dB."""
    image = np.random.default_rng(0).integers(0, 200, (1, 16, 24, 3), np.uint8)
    answer = open_on_cpu(tiny_artifact()).run(image) + np.uint8(off_by)
    return with_selfcheck(tiny_artifact(precision=precision), SelfCheck(image, answer))


def replace_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on the CPU what is opened on CUDA."""
    monkeypatch.setattr("restora.backends.driver.require_driver", lambda: None)
    monkeypatch.setattr(
        onnxruntime_cuda,
        "OnnxRuntimeCudaSession",
        lambda chosen, gpu: OnnxRuntimeCpuSession(chosen),
    )


@pytest.mark.parametrize("backend", ["auto", "cpu", "openvino"])
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_named_file_that_fails_its_self_check_runs_nowhere(backend: Any, precision: str) -> None:
    options = SessionOptions(backend=backend, device="cpu")
    right = checked(off_by=0, precision=precision)
    assert choose_session(right, options=options).precision == precision
    with pytest.raises(AccuracyGateError, match=rf"in {precision} it reaches 28\.1 and 28\.1"):
        choose_session(checked(off_by=10, precision=precision), options=options)


def test_int8_that_openvino_alone_refuses_does_not_run_on_onnx_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AccuracyGateError("OpenVINO computes something else")

    monkeypatch.setattr("restora.backends.openvino_cpu.open_int8", refuse)
    right = checked(off_by=0, precision="int8")
    for precision in ("auto", "int8"):
        options = SessionOptions(device="cpu", precision=precision)  # type: ignore[arg-type]
        with pytest.raises(AccuracyGateError, match="OpenVINO computes something else"):
            choose_session(right, options=options)


def test_what_fails_its_self_check_does_not_run_on_cuda_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace_cuda(monkeypatch)
    options = SessionOptions(backend="cuda")
    choose_session(checked(off_by=0, precision="fp16"), options=options)
    with pytest.raises(AccuracyGateError, match=r"in fp16 it reaches 28\.1"):
        choose_session(checked(off_by=10, precision="fp16"), options=options)


def test_a_refused_session_is_closed() -> None:
    wrong = checked(off_by=10, precision="int8")
    session = OnnxRuntimeCpuSession(wrong)
    with pytest.raises(AccuracyGateError):
        require_accuracy(session, wrong)
    with pytest.raises(SessionError, match="is closed"):
        session.run(np.zeros((1, 8, 8, 3), np.uint8))


def test_artifacts_in_fp32_are_not_measured_again() -> None:
    wrong = checked(off_by=10, precision="fp32")
    assert choose_session(wrong, options=SessionOptions(backend="cpu")).precision == "fp32"


def written(folder: Path, *, off_by: int) -> Path:
    """A network in FP32, and beside it the same one in INT8, which misses its gate by `off_by`."""
    path = folder / "tiny.onnx"
    path.write_bytes(checked(off_by=0, precision="fp32").onnx)
    (folder / "tiny.int8.onnx").write_bytes(checked(off_by=off_by, precision="int8").onnx)
    return path


def test_int8_that_openvino_refuses_does_not_run_elsewhere_but_gives_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = SessionOptions(device="cpu", precision="int8")
    assert choose_session(written(tmp_path, off_by=0), options=options).precision == "int8"
    path = written(tmp_path, off_by=10)
    opened = choose_session(path, options=options)
    assert opened.precision in ("fp32", "bf16")
    assert opened.session.info.precision == "fp32"
    (line,) = [record for record in caplog.messages if "int8 is not used" in record]
    assert "40 dB mean and 35 dB min" in line
    assert "it reaches 28.1 and 28.1" in line
    for backend in ("cpu", "openvino"):
        with pytest.raises(AccuracyGateError, match=r"it reaches 28\.1"):
            choose_session(path, options=replace(options, backend=backend))


def test_int8_whose_worst_picture_misses_the_gate_is_refused() -> None:
    image = np.random.default_rng(0).integers(0, 200, (3, 16, 24, 3), np.uint8)
    answer = open_on_cpu(tiny_artifact()).run(image)
    answer[0] += np.uint8(6)  # 32.6 dB; the two others are exact
    artifact = with_selfcheck(tiny_artifact(precision="int8"), SelfCheck(image, answer))
    with pytest.raises(AccuracyGateError, match=r"it reaches 110\.9 and 32\.6"):
        choose_session(artifact, options=SessionOptions(backend="cpu"))


def test_fp16_that_cuda_refuses_gives_way_to_fp32_on_cuda(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replace_cuda(monkeypatch)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(checked(off_by=0, precision="fp32").onnx)
    (tmp_path / "tiny.fp16.onnx").write_bytes(checked(off_by=10, precision="fp16").onnx)
    opened = choose_session(path, options=SessionOptions(backend="cuda"))
    assert opened.session.info.precision == opened.precision == "fp32"
    with pytest.raises(AccuracyGateError, match=r"in fp16 it reaches 28\.1"):
        choose_session(path, options=SessionOptions(backend="cuda", precision="fp16"))


def test_a_file_beside_that_misses_its_gate_stops_only_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replace_cuda(monkeypatch)
    path = written(tmp_path, off_by=0)
    poor = checked(off_by=0, precision="int8")
    figures = replace(PASSED, psnr_mean=41.0, psnr_min=34.9)
    model = onnx.load_from_string(poor.onnx)
    poor = with_info(model, replace(poor.info, accuracy=figures))
    (tmp_path / "tiny.int8.onnx").write_bytes(poor.onnx)
    assert choose_session(path, options=SessionOptions(backend="cuda")).precision == "fp32"
    with pytest.raises(AccuracyGateError, match=r"worst PSNR 34\.9 dB, needed 35"):
        choose_session(path, options=SessionOptions(backend="cuda", precision="int8"))
    opened = choose_session(path, options=SessionOptions(device="cpu", precision="int8"))
    assert opened.precision in ("fp32", "bf16")
