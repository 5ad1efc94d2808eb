"""Facts about the networks that can be measured without a checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from restora.artifact import read_artifact
from restora.errors import OptionError
from restora_benchmarks.bench.models import find_model
from restora_benchmarks.bench.photos import Setting, measure_photo
from restora_benchmarks.networks import NETWORKS, TINY
from restora_benchmarks.pictures import make_pictures


def quiet(_words: str) -> None:
    pass


def test_a_known_network_is_exported_once(tmp_path: Path) -> None:
    words: list[str] = []
    model = find_model("tiny", tmp_path, words.append)
    assert words == ["exporting tiny, once"]
    written = model.path.stat().st_mtime_ns
    assert find_model("tiny", tmp_path, words.append).path == model.path
    assert model.path.stat().st_mtime_ns == written
    assert len(words) == 1
    facts = read_artifact(model.path).info
    assert (facts.model, facts.scale, facts.precision) == ("tiny", TINY.scale, "fp32")


def test_an_artifact_is_measured_without_peers(tmp_path: Path) -> None:
    path = find_model("tiny", tmp_path, quiet).path
    model = find_model(str(path), tmp_path, quiet)
    assert model.name == "tiny"
    with pytest.raises(LookupError, match="no PyTorch network"):
        model.make_network()


def test_an_unknown_model_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'nothing'; known: restora-lite-x2, .*, tiny, or an"):
        find_model("nothing", tmp_path, quiet)


def test_outside_of_the_source_tree_the_published_way_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LookupError, match="restora-lite-x2 are not here"):
        NETWORKS[0].make()
    words: list[str] = []
    rows = measure_photo(
        find_model("restora-lite-x2", tmp_path, quiet),
        Setting("cpu", "fp32"),
        megapixels=0.001,
        threads=1,
        repeats=1,
        peers=True,
        report=words.append,
    )
    assert [row["way"] for row in rows] == ["session, cpu", "Upsampler, cpu", "command, cpu"]
    assert len(words) == 1
    assert "upstream inference_realesrgan.py is skipped: the weights" in words[0]


def test_pictures_are_the_same_for_every_call_and_neither_flat_nor_noise() -> None:
    pictures = make_pictures((2, 24, 32, 3))
    assert pictures.shape == (2, 24, 32, 3)
    assert pictures.dtype == np.uint8
    assert np.array_equal(pictures, make_pictures((2, 24, 32, 3)))
    steps = np.abs(np.diff(pictures.astype(int), axis=2)).mean()
    assert 2 < steps < pictures.std()
