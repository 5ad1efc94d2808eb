"""Facts about the artifacts of a GPU check."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from restora_benchmarks.networks import Network
from restora_tools.gpu.places import Places
from restora_tools.gpu.prepare import prepare
from restora_tools.gpu.subjects import SUBJECTS, TINY


def test_the_bundled_network_is_measured_as_it_ships(tmp_path: Path) -> None:
    places, subject = Places(tmp_path), SUBJECTS["restora-lite-x2"]
    for precision, name in (
        ("fp32", "restora-lite-x2.onnx"),
        ("int8", "restora-lite-x2.int8.onnx"),
    ):
        assert prepare(places, subject, precision, print) == "done"  # type: ignore[arg-type]
        bundled = Path(str(files("restora") / "data" / name))
        assert (tmp_path / "artifacts" / name).read_bytes() == bundled.read_bytes()


def test_an_artifact_that_is_there_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def export(_: Network, path: Path, precision: str) -> None:
        made.append(precision)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an artifact")

    monkeypatch.setattr(Network, "export", export)
    for _ in range(2):
        assert prepare(Places(tmp_path), TINY, "fp16", print) == "done"
    assert made == ["fp16"]
