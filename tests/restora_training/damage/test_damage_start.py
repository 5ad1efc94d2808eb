"""A training continues with the weights of an artifact, whose normalizations are gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export_cache import kept
from restora.errors import OptionError
from restora_export.export import export_network
from restora_export.reference import DamageDetector, Repairer
from restora_export.reference.damage_detector import thin_parts
from restora_training.damage.start import load_start
from small_detector import make_detector


def write_artifact(name: str, make: Callable[[], nn.Module], folder: Path) -> Path:
    def export() -> bytes:
        exported = export_network(
            make(), model="start", architecture="small", weights_sha256="0" * 64
        )
        return exported.artifact.onnx

    path = folder / "start.onnx"
    path.write_bytes(kept(name, export))
    return path


def inputs(seed: int, count: int = 4) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(seed)
    pictures = [torch.rand(2, 3, 32, 32) for _ in range(count)]
    return [(picture, thin_parts(picture)) for picture in pictures]


@torch.no_grad()
def test_a_detector_from_an_artifact_is_the_same_network_with_normalizations_again(
    tmp_path: Path,
) -> None:
    wanted, network = make_detector(3), make_detector(4)
    path = write_artifact("start detector with means", lambda: make_detector(3), tmp_path)
    load_start(network, path, inputs(0))
    ((picture, _),) = inputs(1, 1)
    torch.testing.assert_close(network.eval()(picture), wanted(picture), atol=1e-4, rtol=1e-4)
    # the normalizations have the statistics of the inputs: training hardly moves the network
    trained = network.train()(inputs(0)[0][0])
    known = wanted(inputs(0)[0][0])
    assert (trained - known).std() < 0.3 * known.std()
    assert (network.stem.norm.weight - 1).abs().max() > 0.1


def test_a_repairer_takes_the_weights_of_an_artifact_as_they_are(tmp_path: Path) -> None:
    def make(seed: int) -> Repairer:
        torch.manual_seed(seed)
        return Repairer((4, 6, 8)).eval()

    path = write_artifact("start repairer", lambda: make(3), tmp_path)
    network = make(4)
    load_start(network, path, [])
    wanted = make(3).state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in network.state_dict().items())


def test_an_artifact_of_another_size_is_refused(tmp_path: Path) -> None:
    path = write_artifact("start detector with means", lambda: make_detector(3), tmp_path)
    with pytest.raises(OptionError, match=r"of the same sizes: it has no constant network\.stem"):
        load_start(DamageDetector((8, 8, 8, 8)), path, inputs(0))
