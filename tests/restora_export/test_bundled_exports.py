"""Facts about artifacts that are exported from the one in the package."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from restora.artifact import read_artifact
from restora.errors import MissingBackendError
from restora.models import find_artifact
from restora.models.resolve import find_or_export

NAME = "restora-fast-x4"


def test_16_bit_photos_get_an_artifact_of_the_same_weights_and_license(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path))
    bundled = read_artifact(find_artifact(NAME, "uint8")).info
    path = find_or_export(NAME, "float32", "upsampler")
    made = read_artifact(path).info
    assert path.parent == tmp_path / "exported"
    assert (made.io, made.precision) == ("float32", "fp32")
    assert made.weights_sha256 == bundled.weights_sha256
    assert made.architecture == bundled.architecture
    assert made.license == bundled.license == "Apache-2.0"


def test_a_gpu_gets_an_fp16_artifact_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path))
    path = find_or_export(NAME, "uint8", "upsampler", half=True)
    half = read_artifact(path.with_suffix(".fp16.onnx")).info
    assert half.precision == "fp16"
    assert half.weights_sha256 == read_artifact(path).info.weights_sha256


def test_without_pytorch_or_a_folder_the_bundled_artifact_runs_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path))

    def refuse(*_: Any) -> None:
        raise MissingBackendError("no PyTorch")

    monkeypatch.setattr("restora.models.resolve._export", refuse)
    bundled = find_artifact(NAME, "uint8")
    with caplog.at_level(logging.WARNING, "restora"):
        assert find_or_export(NAME, "uint8", "upsampler", half=True) == bundled
        monkeypatch.setattr("restora.models.resolve.find_model_folder", lambda: None)
        assert find_or_export(NAME, "uint8", "upsampler", half=True) == bundled
    assert [text.partition(": ")[2] for text in caplog.messages] == [
        "no PyTorch",
        "there is no folder to export to",
    ]


def test_a_bundled_model_with_all_its_artifacts_is_never_exported() -> None:
    bundled = find_artifact("restora-lite-x2", "uint8")
    assert find_or_export("restora-lite-x2", "uint8", "upsampler", half=True) == bundled
