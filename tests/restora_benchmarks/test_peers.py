"""Facts about peers: they run the weights of the model beside which they are measured."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fakes import tiny_artifact
from restora_benchmarks.bench.models import Model
from restora_benchmarks.bench.peers import NcnnPeer

pytest.importorskip("ncnn")


def test_a_kept_conversion_is_not_used_for_other_weights_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[str] = []

    def export(_network: Any, path: str, _example: Any) -> None:
        converted.append(path)
        for ending in ("ncnn.param", "ncnn.bin"):
            Path(path).with_suffix(f".{ending}").write_bytes(b"")

    monkeypatch.setitem(sys.modules, "pnnx", SimpleNamespace(export=export))
    monkeypatch.setattr(Model, "make_network", lambda _self: None)
    stems = []
    for gain in (1.0, 1.0, 0.5):
        path = tmp_path / "model.onnx"
        path.write_bytes(tiny_artifact(gain=gain).onnx)
        peer = NcnnPeer(Model("model", path, folder=tmp_path), 1, full=True)
        stems.append(peer._convert((16, 16)))
    assert stems[0] == stems[1] != stems[2]
    assert len(converted) == 2
