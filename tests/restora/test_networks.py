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
    asked = asked_of(kind, **options)
    return asked.backend, asked.precision, asked.device


def asked_of(kind: Kind, **options: Any) -> SessionOptions:
    asked: list[SessionOptions] = []

    def choose(_path: Path, /, *, options: SessionOptions | None = None) -> OpenedSession:
        assert options is not None
        asked.append(options)
        return OpenedSession(NearestSession(), "cpu", "fp32")

    networks = Networks(RestoreOptions(**options), face_batch=1, choose=choose)
    networks.open(Path("model.onnx"), kind, "uint8")
    networks.close(finish=True)
    return asked[0]


@pytest.mark.parametrize("backend", ["ncnn", "ncnn-vulkan"])
def test_beside_an_upsampler_on_ncnn_faces_run_on_the_cpu_and_damage_is_repaired_there(
    backend: str,
) -> None:
    chosen = {"backend": backend, "precision": "bf16"}
    assert options_of("upsampler", **chosen) == (backend, "bf16", "auto")
    for kind in ("face", "detector", "parser"):
        assert options_of(kind, **chosen) == ("auto", "auto", "cpu")  # type: ignore[arg-type]
    for kind in ("damage-detector", "repairer"):
        assert options_of(kind, **chosen) == (backend, "auto", "auto")  # type: ignore[arg-type]


def test_small_networks_get_the_first_backend_that_runs_them() -> None:
    chosen = {"backend": "tensorrt", "precision": "fp16", "device": "gpu"}
    for kind in ("upsampler", "face"):
        assert options_of(kind, **chosen) == ("tensorrt", "fp16", "gpu")  # type: ignore[arg-type]
    for kind in ("detector", "parser", "damage-detector", "repairer"):
        assert options_of(kind, **chosen) == ("auto", "auto", "auto")  # type: ignore[arg-type]
    assert options_of("detector", backend="cuda") == ("cuda", "auto", "auto")
    assert options_of("detector", device="cpu") == ("auto", "auto", "cpu")


def test_the_tiles_of_photos_are_not_those_of_networks_for_damage() -> None:
    """Whose sides must be multiples of 16 and 32."""
    assert asked_of("upsampler", tile=200, batch=4).plans.tile == 200
    for kind in ("damage-detector", "repairer"):
        plans = asked_of(kind, tile=200, batch=4).plans  # type: ignore[arg-type]
        assert (plans.tile, plans.batches, plans.any_built) == (None, None, True)
