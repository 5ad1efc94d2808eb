"""Facts about the networks that can be measured without a checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ncnn_files import write_ncnn
from restora.artifact import read_artifact
from restora.errors import DownloadError, OptionError
from restora_benchmarks.bench import models
from restora_benchmarks.bench.models import KNOWN, find_model
from restora_benchmarks.bench.photos import Setting, measure_photo
from restora_benchmarks.bench.ways import find_way
from restora_benchmarks.networks import NETWORKS, TINY, Network
from restora_benchmarks.pictures import cut_tiles, make_pictures
from restora_export import checkpoint
from restora_export.reference import SRVGGNetCompact


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


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small network in the place of a published one, as an ncnn file."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("RESTORA_MODELS", str(folder))
    monkeypatch.setattr(checkpoint, "_PUBLISHED", {})  # its weights are others
    torch.manual_seed(3)
    return write_ncnn(folder / "realesr-animevideov3", SRVGGNetCompact(4, 8, 2).eval())


def test_a_published_model_is_measured_with_its_weights(published: Path, tmp_path: Path) -> None:
    model = find_model("realesr-animevideov3", tmp_path, quiet)
    assert (model.weights, model.checkpoint) == ("published", published)
    assert read_artifact(model.path).info.architecture.startswith("SRVGGNetCompact x4")
    network = model.make_network()
    assert isinstance(network, SRVGGNetCompact)
    torch.manual_seed(3)
    expected = SRVGGNetCompact(4, 8, 2).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


def test_ncnn_runs_the_published_file_itself_on_tiles_of_any_size(
    published: Path, tmp_path: Path
) -> None:
    model = find_model("realesr-animevideov3", tmp_path, quiet)
    exact = find_way("eager PyTorch/fp32").open(model, 1)
    for key in ("ncnn/fp32", "ncnn/default"):
        peer = find_way(key).open(model, 1)
        for side in (16, 24):
            tiles = cut_tiles(2, side)
            difference = peer.run(tiles).astype(int) - exact.run(tiles)
            assert difference.shape == (2, 4 * side, 4 * side, 3)
            assert np.abs(difference).max() <= 2
        peer.close()


def test_what_cannot_be_downloaded_is_measured_with_synthetic_weights_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_name: str) -> Path:
        raise DownloadError("no route to host")

    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path))
    monkeypatch.setattr(models, "fetch_model", fail)
    monkeypatch.setitem(KNOWN, "RealESRGAN_x4plus", Network("tiny", "upsampler", 2))
    words: list[str] = []
    model = find_model("RealESRGAN_x4plus", tmp_path, words.append)
    assert (model.weights, model.checkpoint) == ("synthetic", None)
    assert words[0] == "RealESRGAN_x4plus is measured with synthetic weights: no route to host"


def test_synthetic_weights_can_be_asked_for(published: Path, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "realesr-animevideov3.onnx").touch()
    model = find_model("realesr-animevideov3", tmp_path, quiet, synthetic=True)
    assert (model.weights, model.checkpoint) == ("synthetic", None)
    assert model.path != published


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
        report=words.append,
    )
    assert [row["way"] for row in rows] == ["session, cpu", "Upsampler, cpu", "command, cpu"]
    assert len(words) == 2
    assert "published way, eager PyTorch, is skipped: the weights" in words[0]
    assert "published way, ncnn, is skipped: " in words[1]


def test_pictures_are_the_same_for_every_call_and_neither_flat_nor_noise() -> None:
    pictures = make_pictures((2, 24, 32, 3))
    assert pictures.shape == (2, 24, 32, 3)
    assert pictures.dtype == np.uint8
    assert np.array_equal(pictures, make_pictures((2, 24, 32, 3)))
    steps = np.abs(np.diff(pictures.astype(int), axis=2)).mean()
    assert 2 < steps < pictures.std()


def test_tiles_are_cut_from_different_photos_and_are_the_same_for_every_call() -> None:
    tiles = cut_tiles(7, 48)
    assert tiles.shape == (7, 48, 48, 3)
    assert tiles.dtype == np.uint8
    assert np.array_equal(tiles[0], tiles[6])  # there are six photos
    assert len({tile.tobytes() for tile in tiles}) == 6
    assert min(tile.std() for tile in tiles) > 5
    assert np.array_equal(tiles, cut_tiles(7, 48))
    assert cut_tiles(1, 600).shape == (1, 600, 600, 3)  # larger than the photo
