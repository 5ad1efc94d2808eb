"""Facts about what a Restorer can be made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from restora.errors import MissingModelError, OptionError, UnknownModelError
from restora.pipeline import Restorer


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_checkpoint_is_refused_with_the_command_that_exports_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(f"net.{ending}")
    path.write_bytes(b"")
    words = f"`restora export net.{ending} -o net.onnx`"
    for model in (str(path), path):
        with pytest.raises(OptionError, match=words):
            Restorer(model)
    with pytest.raises(OptionError, match=f"restora export ./net.{ending} -o net.onnx"):
        Restorer(f"./net.{ending}")


def test_a_checkpoints_name_of_the_table_is_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    with pytest.raises(MissingModelError, match="restora models fetch RealESRGAN_x4plus"):
        Restorer("RealESRGAN_x4plus.pth")
    with pytest.raises(UnknownModelError, match="'nope"):
        Restorer("nope.pth")
