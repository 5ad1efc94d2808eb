"""Facts about calibration as a whole: the search, the gate, interruption, and the command."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from export_cache import kept
from fakes import PASSED, make_info, with_selfcheck
from processes import run, start
from restora.artifact import (
    Artifact,
    SelfCheck,
    artifact_from_bytes,
    check_accuracy,
    read_artifact,
    read_precision_variants,
)
from restora.backends import SessionOptions, open_session
from restora.backends.choose import choose_session
from restora.errors import AccuracyGateError, MissingModelError, OptionError
from restora_benchmarks.recipe import fill_network
from restora_calibration.calibration_set import (
    CalibrationSet,
    SetPlan,
    make_calibration_set,
    make_source,
)
from restora_calibration.int8 import run as calibration
from restora_calibration.int8.opening import find_sessions
from restora_calibration.int8.plan import Plan
from restora_calibration.int8.report import describe
from restora_calibration.int8.run import calibrate, log_key
from restora_calibration.int8.trial import Distance, TrialLog
from restora_export.onnx_file import onnx_bytes, onnx_from_network
from restora_export.photo_tiles import load_photo_tiles
from restora_export.reference import RRDBNet
from restora_export.verify import make_selfcheck

MIXED_GATE = 40.0


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return artifact_from_bytes(kept("artifact", export))


def export() -> bytes:
    network = fill_network(RRDBNet(2, 8, 4, 1, upsamples=1), 0, "rrdb")
    info = make_info(size_multiple=1, accuracy=PASSED)
    model = onnx_from_network(network, io="uint8")
    return onnx_bytes(model, info, make_selfcheck(network, "uint8"))


@pytest.fixture(scope="module")
def tiles() -> CalibrationSet:
    photos = load_photo_tiles()
    sources = [make_source(f"{index}.png", photo) for index, photo in enumerate(photos[:6])]
    plan = SetPlan(tile=32, calibrating=6, searching=4, judging=24)
    return make_calibration_set(sources, plan, report=lambda _words: None)


@pytest.fixture(scope="module")
def log(
    artifact: Artifact, tiles: CalibrationSet, tmp_path_factory: pytest.TempPathFactory
) -> TrialLog:
    """Shared: what one test measured, the next need not."""
    return TrialLog(tmp_path_factory.mktemp("trials") / "log", log_key(artifact, tiles))


def even(artifacts: Mapping[str, Artifact]) -> dict[tuple[str, str], float]:
    """All mixes equally fast."""
    return {(name, "ONNX Runtime"): 1.0 for name in artifacts}


def quiet(_words: str) -> None:
    pass


def test_the_result_is_an_artifact_that_says_what_was_done(
    artifact: Artifact, tiles: CalibrationSet, log: TrialLog
) -> None:
    result = calibrate(artifact, tiles, Plan(), log=log, speed=even, report=quiet)
    made = result.artifact
    assert made is not None
    check_accuracy(made.info)
    assert made.info.precision == "int8"
    assert made.info.weights_sha256 == artifact.info.weights_sha256
    assert made.info.accuracy is not None
    assert made.info.accuracy.psnr_mean >= MIXED_GATE
    assert result.judged is not None
    assert made.info.accuracy.psnr_mean == pytest.approx(result.judged.mean, abs=0.01)
    assert made.info.accuracy.tiles == 24
    assert artifact.sha256[:12] in made.info.accuracy.reference
    found = made.info.quantization
    assert found is not None
    assert found.tiles_sha256 == tiles.sha256
    assert {"conv_first", "conv_last"} <= set(found.kept)
    assert found.layers + len(found.kept) == 20
    again = artifact_from_bytes(made.onnx)
    assert again.info == made.info
    assert again.read_selfcheck() is not None
    session = open_session(again, options=SessionOptions(backend="cpu"))
    assert session.run(tiles.judging[:1]).shape == (1, 64, 64, 3)
    report = describe(result, tiles, Plan())
    assert report["passed"]
    assert len(report["sensitivity"]) == 18
    assert report["curve"][-1]["psnr_mean"] >= MIXED_GATE
    json.dumps(report)


def test_the_fastest_of_the_mixes_that_pass_is_taken(
    artifact: Artifact, tiles: CalibrationSet, log: TrialLog
) -> None:
    def fewest_are_fastest(found: Mapping[str, Artifact]) -> dict[tuple[str, str], float]:
        seconds = {}
        for name, made in found.items():
            layers = made.info.quantization.layers if made.info.quantization else 99
            seconds[name, "ONNX Runtime"] = float(layers)
            seconds[name, "OpenVINO"] = layers / 2
        return seconds

    most = calibrate(artifact, tiles, Plan(), log=log, speed=None, report=quiet)
    fast = calibrate(artifact, tiles, Plan(), log=log, speed=fewest_are_fastest, report=quiet)
    assert len(fast.best.recipe.layers) < len(most.best.recipe.layers)
    assert fast.speedups()["OpenVINO"] == pytest.approx(
        99 / (len(fast.best.recipe.layers) / 2), rel=0.01
    )


def test_a_gate_that_no_mix_meets_leaves_the_closest_mix_and_no_artifact(
    artifact: Artifact, tiles: CalibrationSet, log: TrialLog
) -> None:
    result = calibrate(artifact, tiles, Plan(min_psnr=160), log=log, speed=even, report=quiet)
    assert result.artifact is None
    assert result.best.distance.mean == max(c.distance.mean for c in result.candidates)
    assert not describe(result, tiles, Plan(min_psnr=160))["passed"]


@pytest.mark.parametrize("judged", [Distance(39.9, 39), Distance(60, 34.9)])
def test_what_only_tiles_of_the_search_pass_is_not_accepted(
    artifact: Artifact,
    tiles: CalibrationSet,
    log: TrialLog,
    monkeypatch: pytest.MonkeyPatch,
    judged: Distance,
) -> None:
    monkeypatch.setattr(calibration, "distance_of", lambda _made: judged)
    result = calibrate(artifact, tiles, Plan(), log=log, speed=even, report=quiet)
    assert result.artifact is None
    assert result.best.distance.mean >= MIXED_GATE
    assert result.judged == judged
    assert not describe(result, tiles, Plan())["passed"]


def test_the_search_goes_on_until_unseen_tiles_pass(
    artifact: Artifact,
    tiles: CalibrationSet,
    log: TrialLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[int] = []

    def refuse_two(made: Artifact) -> Distance:
        assert made.info.quantization is not None
        judged.append(made.info.quantization.layers)
        return Distance(39 if len({*judged}) <= 2 else 41, 36)

    monkeypatch.setattr(calibration, "distance_of", refuse_two)
    result = calibrate(artifact, tiles, Plan(), log=log, speed=None, report=quiet)
    assert result.artifact is not None
    most, second, third, *_ = dict.fromkeys(judged)
    assert most > second > third == len(result.best.recipe.layers)
    assert result.judged == Distance(41, 36)


def test_what_fails_its_self_check_is_not_accepted(
    artifact: Artifact, tiles: CalibrationSet, log: TrialLog
) -> None:
    right = artifact.read_selfcheck()
    assert right is not None
    answer = right.answer.copy()
    answer[0] ^= np.uint8(8)  # 30 dB
    wrong = with_selfcheck(artifact, SelfCheck(right.image, answer))
    told: list[str] = []
    result = calibrate(wrong, tiles, Plan(), log=log, speed=even, report=told.append)
    assert result.artifact is None
    assert any("fails its self-check" in words for words in told)


def test_too_few_tiles_to_judge_on_are_refused_before_the_work(
    artifact: Artifact, tiles: CalibrationSet, log: TrialLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "gather_channels", None)
    few = replace(tiles, judging=tiles.judging[:20])
    with pytest.raises(OptionError, match="4 tiles are missing"):
        calibrate(artifact, few, Plan(), log=log, speed=None, report=quiet)
    same = replace(tiles, searching=tiles.judging[:3])
    with pytest.raises(OptionError, match="3 tiles are missing"):
        calibrate(artifact, same, Plan(), log=log, speed=None, report=quiet)


def test_an_artifact_opens_in_the_sessions_that_pass_its_self_check(
    artifact: Artifact, tiles: CalibrationSet, log: TrialLog
) -> None:
    made = calibrate(artifact, tiles, Plan(), log=log, speed=None, report=quiet).artifact
    assert made is not None
    told: list[str] = []
    assert find_sessions(made, report=told.append) == ("openvino", "cpu")
    assert [words for words in told if "does not run on ncnn" in words]
    right = made.read_selfcheck()
    assert right is not None
    wrong = with_selfcheck(made, SelfCheck(right.image, 255 - right.answer))
    with pytest.raises(AccuracyGateError, match=r"opens in no session.*openvino: .*cpu: "):
        find_sessions(wrong, report=quiet)


def test_the_gate_cannot_be_lowered() -> None:
    with pytest.raises(OptionError, match="can only be raised"):
        Plan(min_psnr=30)
    with pytest.raises(OptionError):
        Plan(min_psnr=float("nan"))


def test_an_interrupted_search_measures_nothing_twice(
    artifact: Artifact,
    tiles: CalibrationSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, key = tmp_path / "log", log_key(artifact, tiles)
    original = TrialLog.add
    left = 9

    def add(self: TrialLog, recipe: str, distance: Distance) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        original(self, recipe, distance)

    monkeypatch.setattr(TrialLog, "add", add)
    with pytest.raises(KeyboardInterrupt):
        calibrate(artifact, tiles, Plan(), log=TrialLog(path, key), speed=None, report=quiet)
    assert len(path.read_text().splitlines()) == 9
    left = 10_000
    second = calibrate(artifact, tiles, Plan(), log=TrialLog(path, key), speed=None, report=quiet)
    recipes = [json.loads(line)["recipe"] for line in path.read_text().splitlines()]
    assert len(recipes) == len(set(recipes)) > 9
    whole = calibrate(
        artifact, tiles, Plan(), log=TrialLog(tmp_path / "2", key), speed=None, report=quiet
    )
    assert second.artifact is not None
    assert whole.artifact is not None
    assert second.artifact.onnx == whole.artifact.onnx


def test_a_torn_line_and_lines_of_another_run_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = TrialLog(path, "a")
    log.add("one", Distance(50, 40))
    with path.open("ab") as stream:
        stream.write(b'{"key": "a", "recipe": "two", "me')
    again = TrialLog(path, "a")
    assert set(again.found) == {"one"}
    again.add("three", Distance(45, 41))
    assert set(TrialLog(path, "a").found) == {"one", "three"}
    assert not TrialLog(path, "b").found


def test_a_layer_that_sees_nothing_stays_in_fp32_and_is_named(
    artifact: Artifact, tiles: CalibrationSet, tmp_path: Path
) -> None:
    network = fill_network(RRDBNet(2, 8, 4, 1, upsamples=1), 0, "rrdb")
    conv = network.get_submodule("conv_up1")
    conv.weight.data.zero_()  # type: ignore[union-attr, operator]
    conv.bias.data.zero_()  # type: ignore[union-attr, operator]
    model = onnx_from_network(network, io="uint8")
    dead = artifact_from_bytes(onnx_bytes(model, artifact.info))
    log = TrialLog(tmp_path / "log", log_key(dead, tiles))
    log = TrialLog(tmp_path / "log", "of another network")
    result = calibrate(dead, tiles, Plan(), log=log, speed=None, report=quiet)
    assert result.dead == ("conv_hr",)
    assert "conv_hr" in result.kept


def test_what_cannot_be_calibrated_is_refused(
    artifact: Artifact, tiles: CalibrationSet, tmp_path: Path
) -> None:
    log = TrialLog(tmp_path / "log", "key")
    for changes, words in (
        ({"precision": "fp16"}, "calibrate its FP32 artifact"),
        ({"kind": "detector"}, "needs an upsampler or a face network"),
        ({"size_multiple": 5}, "multiple of 5"),
    ):
        other = Artifact(replace(artifact.info, **changes), artifact.onnx)
        with pytest.raises(OptionError, match=words):
            calibrate(other, tiles, Plan(), log=log, speed=None, report=quiet)
    with pytest.raises(OptionError, match="no inner layer"):
        calibrate(artifact, tiles, Plan(only="absent"), log=log, speed=None, report=quiet)


def test_the_runtime_refuses_an_int8_file_whose_gate_failed(
    artifact: Artifact, tiles: CalibrationSet, log: TrialLog, tmp_path: Path
) -> None:
    made = calibrate(artifact, tiles, Plan(), log=log, speed=None, report=quiet).artifact
    assert made is not None
    assert made.info.accuracy is not None
    assert made.info.quantization is not None
    poor = replace(made.info, accuracy=replace(made.info.accuracy, psnr_mean=39.9))
    strict = replace(made.info, quantization=replace(made.info.quantization, min_psnr=90.0))
    for info in (poor, strict):
        path = tmp_path / "bad.int8.onnx"
        path.write_bytes(onnx_bytes(_proto(made), info))
        with pytest.raises(AccuracyGateError, match="mean PSNR"):
            read_artifact(path)


def test_int8_is_found_beside_fp32_and_run_only_when_asked_for(
    artifact: Artifact, tiles: CalibrationSet, log: TrialLog, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(artifact.onnx)
    for backend in ("cpu", "openvino"):
        with pytest.raises(MissingModelError, match="restora calibrate"):
            choose_session(path, options=SessionOptions(backend=backend, precision="int8"))
    made = calibrate(artifact, tiles, Plan(), log=log, speed=None, report=quiet).artifact
    assert made is not None
    (tmp_path / "tiny.int8.onnx").write_bytes(made.onnx)
    assert [found.info.precision for found in read_precision_variants(artifact, path)] == [
        "fp32",
        "int8",
    ]
    assert choose_session(path).precision != "int8"
    asked = choose_session(path, options=SessionOptions(precision="int8"))
    assert asked.precision == "int8"
    exact = open_session(artifact, options=SessionOptions(backend="cpu")).run(tiles.judging)
    for backend in ("cpu", "openvino"):
        options = SessionOptions(backend=backend, precision="int8")
        got = choose_session(path, options=options).session.run(tiles.judging)
        error = np.square((got.astype(float) - exact.astype(float)) / 255).mean()
        assert -10 * np.log10(error) > MIXED_GATE - 1


def test_the_command_goes_on_after_it_was_killed(artifact: Artifact, tmp_path: Path) -> None:
    model, photos = tmp_path / "tiny.onnx", tmp_path / "photos"
    model.write_bytes(artifact.onnx)
    photos.mkdir()
    for index, photo in enumerate(load_photo_tiles()[:6]):
        cv2.imwrite(str(photos / f"{index}.png"), photo)
    words = ["calibrate", model, "--data", photos, "--degrade", "none", "--no-timed"]
    words += ["--tile", "32", "--calibration-tiles", "6"]
    log = tmp_path / "tiny.int8.trials.jsonl"
    with start(tmp_path, *words) as process:
        while process.poll() is None and not (log.exists() and log.stat().st_size > 400):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = log.read_text().splitlines()
    assert not (tmp_path / "tiny.int8.onnx").exists()
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "going on" in done.stderr
    assert len(before) >= 2
    assert not log.exists()
    assert read_artifact(tmp_path / "tiny.int8.onnx").info.precision == "int8"
    assert "<svg" in (tmp_path / "tiny.int8.svg").read_text()
    report = json.loads((tmp_path / "tiny.int8.json").read_text())
    assert report["tiles"]["photos"][0]["degradations"] == [None]
    refused = run(tmp_path, *words)
    assert refused.returncode == 2
    assert "--overwrite" in refused.stderr


def test_the_command_writes_no_artifact_below_the_gate(artifact: Artifact, tmp_path: Path) -> None:
    model = tmp_path / "tiny.onnx"
    model.write_bytes(artifact.onnx)
    words = ["calibrate", model, "--min-psnr", "160", "--no-timed", "--range-methods", "max"]
    words += ["--tile", "32", "--calibration-tiles", "4"]
    done = run(tmp_path, *words)
    assert done.returncode == 5, done.stderr
    assert "nothing is written" in done.stderr
    assert "layers in INT8" in done.stderr
    assert not (tmp_path / "tiny.int8.onnx").exists()
    assert not json.loads((tmp_path / "tiny.int8.json").read_text())["passed"]


def _proto(made: Artifact) -> object:
    import onnx

    model = onnx.load_from_string(made.onnx)
    del model.metadata_props[:]
    return model
