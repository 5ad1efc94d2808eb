"""Facts about the options of calibrating a file: wrong ones are refused before any work."""

import json
from pathlib import Path
from typing import Any

import pytest

from fakes import tiny_artifact
from processes import run
from restora.errors import AccuracyGateError, OptionError, OutputError
from restora_calibration.int8 import file
from restora_calibration.int8.file import CalibratedFile, TileOptions, calibrate_file
from restora_calibration.int8.plan import Plan
from restora_calibration.int8.presets import Preset
from restora_calibration.int8.qdq import Recipe
from restora_calibration.int8.run import Calibration
from restora_calibration.int8.search import Candidate
from restora_calibration.int8.trial import Distance


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
    tiles = TileOptions(degrade="none", side=32, calibration=4)
    calibrate_file(model, output, Plan(), tiles, report=lambda _line: None, **more)


def test_a_result_that_exists_is_kept(model: Path) -> None:
    model.with_suffix(".int8.onnx").write_bytes(b"mine")
    with pytest.raises(OptionError, match="--overwrite"):
        calibrate(model)
    with pytest.raises(AssertionError, match="the work began"):
        calibrate(model, overwrite=True)


@pytest.mark.parametrize("steps", [0, 3])
def test_the_command_fine_tunes_with_a_preset_for_tuned_weights(
    model: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    presets = {False: Preset(("a",), "mse"), True: Preset((), "mse")}
    plans = []

    def note(_artifact: object, _tiles: object, plan: Plan, **_: object) -> Calibration:
        plans.append(plan)
        return result_of(artifact=None)

    monkeypatch.setattr(file, "calibrate", note)
    monkeypatch.setattr(file, "plot_calibration", lambda *_: None)
    monkeypatch.setattr(file, "find_preset", lambda _name, *, tuned: presets[tuned])
    options = ["--fine-tune", str(steps), "--degrade", "none", "--tile", "32"]
    assert run(model.parent, "calibrate", model, *options).returncode == 5
    assert [(plan.fine_tune, plan.preset) for plan in plans] == [(steps, presets[steps > 0])]


def test_a_folder_that_cannot_be_made_is_an_output_error(model: Path) -> None:
    with pytest.raises(OutputError, match="cannot be made"):
        calibrate(model, model / "folder" / "out.onnx")


def result_of(**changes: Any) -> Calibration:
    best = Candidate(Recipe(frozenset({"a"}), {"a": 1.0}), Distance(45, 41), 0.9)
    seconds = {("fp32", "ONNX Runtime"): 2.0}
    seconds |= {("1 layers", name): 1.0 for name in ("ONNX Runtime", "OpenVINO")}
    facts: dict[str, Any] = {
        "artifact": tiny_artifact(precision="int8"),
        "half": None,
        "best": best,
        "judged": Distance(43, 37),
        "candidates": (best,),
        "sensitivities": (),
        "tried": {},
        "dead": (),
        "kept": (),
        "seconds": seconds,
    }
    return Calibration(**{**facts, **changes})


def test_only_sessions_that_open_the_artifact_are_announced(tmp_path: Path) -> None:
    found = CalibratedFile(tmp_path / "a.int8.onnx", None, ("cpu",), result_of())
    told = " | ".join(found.describe())
    assert "PSNR 43.00 dB mean, 37.00 min on unseen tiles" in told
    assert "it passes its self-check on cpu" in told
    assert "2.00 times as fast as FP32 on ONNX Runtime: ONNX Runtime" in told
    assert "OpenVINO" not in told


def test_an_artifact_that_opens_nowhere_is_not_written(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_none(*_: object, **__: object) -> None:
        raise AccuracyGateError("it opens in no session")

    monkeypatch.setattr(file, "calibrate", lambda *_, **__: result_of())
    monkeypatch.setattr(file, "plot_calibration", lambda *_: None)
    monkeypatch.setattr(file, "find_sessions", open_none)
    with pytest.raises(AccuracyGateError, match="it opens in no session"):
        calibrate(model)
    assert not model.with_suffix(".int8.onnx").exists()
    assert not json.loads(model.with_suffix(".int8.json").read_text())["passed"]
