"""Facts about the options of calibrating a file: wrong ones are refused before any work."""

from pathlib import Path
from typing import Any

import pytest

from fakes import tiny_artifact
from restora.errors import OptionError, OutputError
from restora_calibration.int8 import file
from restora_calibration.int8.file import TileOptions, calibrate_file
from restora_calibration.int8.run import Plan


@pytest.mark.parametrize("methods", [(), ("max", "guess"), ("",)])
def test_unknown_methods_of_finding_ranges_are_refused(methods: Any) -> None:
    with pytest.raises(OptionError, match="max, percentile, entropy, mse"):
        Plan(methods=methods)


def test_an_unknown_degradation_is_refused() -> None:
    with pytest.raises(OptionError, match="mild, faces or none"):
        TileOptions(degrade="heavy")  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact's file whose calibration must not begin."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(file, "calibrate", fail)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_artifact().onnx)
    return path


def calibrate(model: Path, output: Path | None = None, **more: Any) -> None:
    tiles = TileOptions(degrade="none", side=32, calibration=4, validation=2)
    calibrate_file(model, output, Plan(), tiles, report=lambda _line: None, **more)


def test_a_result_that_exists_is_kept(model: Path) -> None:
    model.with_suffix(".int8.onnx").write_bytes(b"mine")
    with pytest.raises(OptionError, match="--overwrite"):
        calibrate(model)
    with pytest.raises(AssertionError, match="the work began"):
        calibrate(model, overwrite=True)


def test_a_folder_that_cannot_be_made_is_an_output_error(model: Path) -> None:
    with pytest.raises(OutputError, match="cannot be made"):
        calibrate(model, model / "folder" / "out.onnx")
