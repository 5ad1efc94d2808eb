"""Facts about what a Restorer can be made of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from restora.errors import MissingBackendError, MissingModelError, UnknownModelError
from restora.pipeline import Restorer


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_checkpoint_that_cannot_be_exported_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    monkeypatch.setitem(sys.modules, "restora_export.files", None)
    Path(f"net.{ending}").write_bytes(b"weights")
    for model in (f"net.{ending}", Path(f"net.{ending}"), f"./net.{ending}"):
        with pytest.raises(MissingBackendError, match=r"pip install 'restora\[export\]'"):
            Restorer(model)


def test_a_checkpoints_name_of_the_table_is_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    with pytest.raises(MissingModelError, match="restora models fetch RealESRGAN_x4plus"):
        Restorer("RealESRGAN_x4plus.pth")
    with pytest.raises(UnknownModelError, match="'nope"):
        Restorer("nope.pth")
