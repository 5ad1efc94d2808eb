"""Facts about the self-check: what fails it is refused on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fakes import open_on_cpu, tiny_artifact, with_selfcheck
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


@pytest.mark.parametrize("backend", ["auto", "cpu"])
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_what_fails_its_self_check_does_not_run_on_onnx_runtime_either(
    backend: Any, precision: str
) -> None:
    options = SessionOptions(backend=backend, device="cpu")
    right = checked(off_by=0, precision=precision)
    assert choose_session(right, options=options).backend == "cpu"
    with pytest.raises(AccuracyGateError, match=rf"in {precision} it reaches 28\.1 and 28\.1"):
        choose_session(checked(off_by=10, precision=precision), options=options)


def test_what_fails_its_self_check_does_not_run_on_cuda_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("restora.backends.driver.require_driver", lambda: None)
    monkeypatch.setattr(
        onnxruntime_cuda,
        "OnnxRuntimeCudaSession",
        lambda chosen, gpu: OnnxRuntimeCpuSession(chosen),
    )
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
