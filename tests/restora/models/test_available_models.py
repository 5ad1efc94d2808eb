"""Facts about the list of models."""

from __future__ import annotations

from pathlib import Path

import pytest

from restora import available_models
from restora.models import DEFAULT_MODEL, MODELS

BUNDLED = [name for name, entry in MODELS.items() if entry.bundled]


def test_every_published_model_is_listed_with_its_license_and_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path))
    found = available_models()
    assert [model.name for model in found] == list(MODELS)
    for model in found:
        assert model.license in ("Apache-2.0", "BSD-3-Clause", "MIT")
        assert model.purpose
        assert (model.scale is None) == (model.kind != "upsampler")
        assert model.is_here == (model.name in BUNDLED)
        assert not model.needs_export


def test_a_model_is_here_as_an_artifact_or_as_a_checkpoint_to_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path))
    (tmp_path / "RealESRGAN_x4plus.onnx").write_bytes(b"artifact")
    (tmp_path / "RealESRGAN_x2plus.pth").write_bytes(b"checkpoint")
    found = {model.name: model for model in available_models()}
    states = [
        (found[name].is_here, found[name].needs_export)
        for name in ("RealESRGAN_x4plus", "RealESRGAN_x2plus", "RealESRNet_x4plus")
    ]
    assert states == [(True, False), (True, True), (False, False)]


def test_it_can_be_listed_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restora.models.store.find_model_folder", lambda: None)
    found = [model.name for model in available_models() if model.is_here]
    assert found == BUNDLED
    assert DEFAULT_MODEL in found
