"""Facts about checkpoints that are named where an artifact is needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import torch

from ncnn_files import write_ncnn
from recipe import fill_network
from restora import Photo, Restorer
from restora.artifact import read_artifact
from restora.backends import Session
from restora.errors import AccuracyGateError, UnsafePathError
from restora.models.resolve import find_or_export
from restora_export.reference import SRVGGNetCompact
from restora_export.seams import SeamError

PHOTO = Photo(np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8))


def test_a_restorer_exports_a_checkpoint_once_and_logs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    network = fill_network(SRVGGNetCompact(4, 8, 2, "prelu"), 1, "srvgg")
    path = tmp_path / "mine.pth"
    torch.save({"params": network.state_dict()}, path)
    results = []
    for model in (path, str(path)):
        with caplog.at_level(logging.WARNING, "restora"), Restorer(model, device="cpu") as restorer:
            assert (restorer.model, restorer.scale) == ("mine", 4)
            results.append(restorer.restore(PHOTO).photo.pixels)
    assert np.array_equal(*results)
    announced = [record for record in caplog.messages if "exporting mine to ONNX" in record]
    assert len(announced) == 1
    assert len(list((tmp_path / "models" / "exported").glob("*.onnx"))) == 1


def test_an_ncnn_network_is_a_model_by_its_path_and_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv("RESTORA_MODELS", str(models))
    network = fill_network(SRVGGNetCompact(4, 8, 2, "prelu"), 1, "srvgg")
    path = write_ncnn(models / "mine", network)
    results = []
    for model in (path, str(path), "mine", "mine.param"):
        with Restorer(model, device="cpu") as restorer:
            results.append(restorer.restore(PHOTO).photo.pixels)
    assert all(np.array_equal(results[0], result) for result in results)
    assert len(list((models / "exported").glob("mine.*.onnx"))) == 1


def test_other_weights_beside_a_param_file_are_exported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("restora_export.files.export_file", refuse([]))
    (tmp_path / "mine.param").write_bytes(b"layers")
    (tmp_path / "mine.bin").write_bytes(b"weights")
    first = find_or_export(tmp_path / "mine.param", "uint8", "upsampler")
    (tmp_path / "mine.bin").write_bytes(b"others")
    assert find_or_export(tmp_path / "mine.param", "uint8", "upsampler") != first


def test_the_overlap_of_tiles_is_measured_once_for_both_kinds_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    network = fill_network(SRVGGNetCompact(2, 8, 1, "prelu"), 1, "srvgg")
    path = tmp_path / "mine.pth"
    torch.save({"params": network.state_dict()}, path)
    measured: list[SeamError] = []

    def choose(_session: Session) -> SeamError:
        measured.append(SeamError(24, 60.0, 0.0))
        return measured[-1]

    monkeypatch.setattr("restora_export.export.choose_overlap", choose)
    for io in ("uint8", "float32"):
        found = find_or_export(path, io, "upsampler")  # type: ignore[arg-type]
        assert read_artifact(found).info.overlap_px == 24
    assert len(measured) == 1


def refuse(calls: list[str]) -> Callable[..., None]:
    """An exporter that writes FP32 and fails the threshold in FP16."""

    def export_file(_checkpoint: Path, target: Path, *, precision: str, **_options: object) -> None:
        calls.append(precision)
        if precision == "fp16":
            raise AccuracyGateError("mine differs too much in fp16")
        target.write_bytes(b"artifact")

    return export_file


def test_a_refused_fp16_export_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    calls: list[str] = []
    monkeypatch.setattr("restora_export.files.export_file", refuse(calls))
    (tmp_path / "mine.pth").write_bytes(b"weights")
    for _ in range(3):
        find_or_export(tmp_path / "mine.pth", "uint8", "upsampler", half=True)
    assert calls == ["fp32", "fp16"]


def test_callers_that_need_the_same_export_do_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    calls: list[str] = []
    both_ask = threading.Barrier(2, timeout=20)

    class Lock(filelock.FileLock):
        def __enter__(self) -> Any:
            both_ask.wait()  # neither has exported yet
            return super().__enter__()

    monkeypatch.setattr("filelock.FileLock", Lock)
    monkeypatch.setattr("restora_export.files.export_file", refuse(calls))
    (tmp_path / "mine.pth").write_bytes(b"weights")
    with ThreadPoolExecutor(2) as threads:
        found = [
            threads.submit(find_or_export, tmp_path / "mine.pth", "uint8", "upsampler")
            for _ in range(2)
        ]
        assert len({future.result(30) for future in found}) == 1
    assert both_ask.n_waiting == 0
    assert calls == ["fp32"]


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("restora_export.files.export_file", refuse([]))
    (tmp_path / "mine.pth").write_bytes(b"weights")
    target = find_or_export(tmp_path / "mine.pth", "uint8", "upsampler")
    target.unlink()
    (tmp_path / "mine").write_text("precious")
    lock = target.with_name(target.name + ".lock")
    lock.unlink(missing_ok=True)
    lock.symlink_to(tmp_path / "mine")
    with pytest.raises(UnsafePathError, match="must be a regular file"):
        find_or_export(tmp_path / "mine.pth", "uint8", "upsampler")
    assert (tmp_path / "mine").read_text() == "precious"
