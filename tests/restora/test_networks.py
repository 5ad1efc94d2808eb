"""Facts about the networks of a Restorer: what each kind runs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakes import NearestSession
from restora.backends import OpenedSession, SessionOptions
from restora.networks import Networks
from restora.options import RestoreOptions

if TYPE_CHECKING:
    from restora.artifact import Kind


def options_of(kind: Kind, **options: Any) -> tuple[str, str, str]:
    """Backend, precision and device with which a network of this kind is opened."""
    asked: list[SessionOptions] = []

    def choose(_path: Path, /, *, options: SessionOptions | None = None) -> OpenedSession:
        assert options is not None
        asked.append(options)
        return OpenedSession(NearestSession(), "cpu", "fp32")

    networks = Networks(RestoreOptions(**options), face_batch=1, choose=choose)
    networks.open(Path("model.onnx"), kind, "uint8")
    networks.close(finish=True)
    return asked[0].backend, asked[0].precision, asked[0].device


@pytest.mark.parametrize("backend", ["ncnn", "ncnn-vulkan"])
def test_beside_an_upsampler_on_ncnn_faces_run_on_the_cpu(backend: str) -> None:
    chosen = {"backend": backend, "precision": "bf16"}
    assert options_of("upsampler", **chosen) == (backend, "bf16", "auto")
    for kind in ("face", "detector", "parser"):
        assert options_of(kind, **chosen) == ("auto", "auto", "cpu")  # type: ignore[arg-type]


def test_detectors_and_parsers_get_no_tensorrt_plans_and_may_run_on_the_cpu() -> None:
    chosen = {"backend": "tensorrt", "precision": "fp16", "device": "gpu"}
    for kind in ("upsampler", "face"):
        assert options_of(kind, **chosen) == ("tensorrt", "fp16", "gpu")  # type: ignore[arg-type]
    for kind in ("detector", "parser"):
        assert options_of(kind, **chosen) == ("auto", "auto", "auto")  # type: ignore[arg-type]
    assert options_of("detector", backend="cuda") == ("cuda", "auto", "auto")
    assert options_of("detector", device="cpu") == ("auto", "auto", "cpu")
