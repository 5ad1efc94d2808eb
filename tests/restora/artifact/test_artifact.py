"""Facts about which ONNX files the runtime takes."""

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from fakes import PASSED, make_info, tiny_artifact
from restora.artifact import (
    Artifact,
    artifact_from_bytes,
    check_accuracy,
    read_artifact,
)
from restora.artifact.info import METADATA_KEY, info_from_json
from restora.artifact.onnx_wire import read_onnx_facts
from restora.backends import open_session
from restora.errors import AccuracyGateError, ArtifactError, MissingModelError


def test_what_is_written_into_the_metadata_comes_back(tiny_x2: Artifact) -> None:
    assert artifact_from_bytes(tiny_x2.onnx).info == tiny_x2.info
    assert info_from_json(tiny_x2.info.to_json()) == tiny_x2.info


def test_fields_of_a_later_version_are_ignored() -> None:
    text = make_info().to_json().replace("{", '{"color_of_the_box": "red", ', 1)
    assert info_from_json(text) == make_info()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "reads artifact format 1, the file has 2"),
        ({"io": "uint16"}, "io must be one of uint8, float32, got 'uint16'"),
        ({"scale": 0}, "scale must be a whole number from 1 to 16, got 0"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        info_from_json(make_info(**change).to_json())


def test_a_foreign_onnx_file_is_refused(tiny_x2: Artifact) -> None:
    model = onnx.load_from_string(tiny_x2.onnx)
    del model.metadata_props[:]
    with pytest.raises(ArtifactError, match="not one made by restora"):
        artifact_from_bytes(model.SerializeToString())


def _point_outside(tensor: onnx.TensorProto, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "/etc/passwd"])
@pytest.mark.parametrize("where", ["initializer", "attribute"])
def test_tensors_in_other_files_are_refused(
    tiny_x2: Artifact, location: str, where: str, tmp_path: Path
) -> None:
    model = onnx.load_from_string(tiny_x2.onnx)
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "stolen")
    _point_outside(tensor, location)
    if where == "initializer":
        model.graph.initializer.append(tensor)
    else:
        model.graph.node.append(helper.make_node("Constant", [], ["stolen"], value=tensor))
    path = tmp_path / "evil.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="keeps tensors in other files"):
        read_artifact(path)


@pytest.mark.parametrize("data", [b"", b"hello, I am text", b"\x00" * 100, b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_onnx_file_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        artifact_from_bytes(data)


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_files_are_refused_or_read_but_never_crash(
    data: st.DataObject, tiny_x2: Artifact
) -> None:
    damaged = bytearray(tiny_x2.onnx)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ArtifactError):
        artifact_from_bytes(bytes(damaged))


def test_a_truncated_file_is_refused(tiny_x2: Artifact) -> None:
    for end in range(0, len(tiny_x2.onnx) - 1, 97):
        with pytest.raises(ArtifactError):
            artifact_from_bytes(tiny_x2.onnx[:end])


def test_a_model_file_that_is_a_pipe_or_a_device_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path / "pipe.onnx", tmp_path, Path("/dev/zero")):
        with pytest.raises(ArtifactError, match="must be a regular file"):
            read_artifact(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r"no artifact at .*nowhere\.onnx"):
        read_artifact(tmp_path / "nowhere.onnx")


def test_the_reader_agrees_with_the_onnx_package(tiny_x2: Artifact) -> None:
    facts = read_onnx_facts(tiny_x2.onnx)
    model = onnx.load_from_string(tiny_x2.onnx)
    assert facts.metadata == {p.key: p.value for p in model.metadata_props}
    assert METADATA_KEY in facts.metadata


@pytest.mark.parametrize(
    ("info", "figures", "message"),
    [
        ({"precision": "fp32"}, {"max_error": 0.01}, r"max error 0\.01 of range, allowed 0\.00393"),
        ({"io": "float32"}, {"max_error": 2e-5}, "max error 2e-05 of range, allowed 1e-05"),
        ({"precision": "fp16"}, {"psnr_mean": 49.9}, r"mean PSNR 49.9 dB, needed 50.0"),
        ({"precision": "fp16"}, {"psnr_min": 44.0}, r"worst PSNR 44.0 dB, needed 45.0"),
        ({"precision": "int8"}, {"psnr_mean": 39.0}, r"mean PSNR 39.0 dB, needed 40.0"),
        ({"precision": "fp16"}, {"psnr_mean": float("nan")}, "mean PSNR nan dB"),
        ({}, {"nonfinite": 3}, "3 output values are NaN or Inf"),
    ],
)
def test_an_artifact_past_its_gate_is_refused_with_the_numbers(
    info: dict[str, object], figures: dict[str, float], message: str, tmp_path: Path
) -> None:
    failed = make_info(**info, accuracy=replace(PASSED, **figures))  # type: ignore[arg-type]
    with pytest.raises(AccuracyGateError, match=message):
        check_accuracy(failed)


def test_the_runtime_refuses_a_failed_artifact_from_a_file(tmp_path: Path) -> None:
    artifact = tiny_artifact(accuracy=replace(PASSED, max_error=0.1))
    path = tmp_path / "failed.onnx"
    path.write_bytes(artifact.onnx)
    with pytest.raises(AccuracyGateError, match=r"max error 0\.1 of range"):
        read_artifact(path)
    with pytest.raises(AccuracyGateError):
        open_session(artifact)


def test_an_artifact_without_figures_is_refused() -> None:
    with pytest.raises(AccuracyGateError, match="has no accuracy figures"):
        open_session(tiny_artifact(accuracy=None))
