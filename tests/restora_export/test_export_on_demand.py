"""Facts about checkpoints that are named where an artifact is needed."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from recipe import fill_network
from restora import Photo, Restorer
from restora_export.reference import SRVGGNetCompact

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
