"""Facts about the training of the bundled model."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from restora.artifact import read_artifact
from restora.models import find_artifact
from restora_calibration.photos import TRAINING, read_free_photo
from restora_export.checkpoint import load_checkpoint
from restora_export.reference import RRDBNet
from restora_tools.lite.accuracy import enlarge_bicubic, evaluate, format_table
from restora_tools.lite.patches import cut_pair
from restora_tools.lite.train import LITE_X2, Plan, train
from restora_training.networks import start_bilinear

ROOT = Path(__file__).parents[2]


def test_a_training_pair_shows_the_same_place_twice() -> None:
    rng = np.random.default_rng(0)
    photos = [read_free_photo(TRAINING[0])]
    for _ in range(20):
        pair = cut_pair(photos, 40, rng, clean_share=0.5)
        degraded, clean = pair.degraded, pair.clean
        assert degraded.shape == (40, 40, 3)
        assert clean.shape == (80, 80, 3)
        shrunk = clean.reshape(40, 2, 40, 2, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - degraded).mean() < 25  # blur and noise, but not another place


def test_the_untrained_network_is_nearly_bilinear_enlargement() -> None:
    torch.manual_seed(0)
    network = RRDBNet(**LITE_X2).eval()
    start_bilinear(network)
    x = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        difference = network(x) - F.interpolate(x, scale_factor=2, mode="bilinear")
    assert difference[..., 4:-4, 4:-4].abs().mean() < 0.15


def test_training_goes_on_from_its_last_state(tmp_path: Path) -> None:
    output, state = tmp_path / "lite.safetensors", tmp_path / "state.pt"
    train(Plan(steps=2, batch=1, patch=16), output, state)
    first = output.read_bytes()
    train(Plan(steps=3, batch=1, patch=16), output, state)
    assert output.read_bytes() != first
    assert load_checkpoint(output).architecture.scale == 2


def test_the_evaluation_finds_bicubic_equal_to_itself() -> None:
    rows = evaluate(enlarge_bicubic)
    assert all(row.bicubic_psnr == row.restored_psnr for row in rows)
    assert format_table(rows).count("\n") == len(rows) + 1


def test_the_committed_weights_are_those_of_the_bundled_artifact() -> None:
    path = ROOT / "calibration" / "weights" / "restora-lite-x2.safetensors"
    checkpoint = load_checkpoint(path)
    for io in ("uint8", "float32"):
        assert read_artifact(find_artifact("restora-lite-x2", io)).info.weights_sha256 == (
            checkpoint.sha256
        )
