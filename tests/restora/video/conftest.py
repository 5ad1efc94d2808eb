"""The tiny network that restores the clips of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes import tiny_artifact
from restora import Restorer
from restora.options import RestoreOptions


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny.onnx").write_bytes(tiny_artifact(scale=2, io="uint8").onnx)
    (folder / "tiny.float32.onnx").write_bytes(tiny_artifact(scale=2, io="float32").onnx)
    return folder / "tiny.onnx"


@pytest.fixture(scope="module")
def restorer(model: Path) -> Iterator[Restorer]:
    with Restorer(model, options=RestoreOptions(backend="cpu")) as found:
        yield found
