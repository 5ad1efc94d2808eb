"""Facts about counting operations and measuring processes."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes import tiny_artifact
from restora.image import Photo, write_photo
from restora_benchmarks.command import Command, run_command
from restora_benchmarks.flops import count_flops
from restora_benchmarks.machine import describe_machine
from restora_benchmarks.published import upsample_published
from restora_export.onnx_file import onnx_from_network
from restora_export.reference import RRDBNet, SRVGGNetCompact


def test_a_convolutions_operations_are_counted_by_hand() -> None:
    # one 3x3 convolution, 3 -> 3 channels, over 8 x 10 pixels
    flops = count_flops(tiny_artifact().onnx, batch=2, height=8, width=10)
    assert flops == 2 * (2 * 8 * 10) * 3 * 3 * 9


def test_the_published_cost_per_pixel_comes_out() -> None:
    network = SRVGGNetCompact(4, 64, 16).eval()
    model = onnx_from_network(network, io="uint8")
    flops = count_flops(model.SerializeToString(), batch=1, height=16, width=16)
    by_hand = 2 * 9 * (3 * 64 + 16 * 64 * 64 + 64 * 48)
    assert flops / 256 == by_hand


def test_the_published_way_equals_the_network_when_there_is_one_tile() -> None:
    torch.manual_seed(0)
    network = RRDBNet(2, 8, 4, 1).eval()
    photo = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    tiled = upsample_published(network, photo, scale=2, tile=64, tile_pad=10)
    with torch.inference_mode():
        y = network(torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255)
    whole = (y[0].clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy()
    assert np.array_equal(tiled, whole)


def test_a_command_is_timed_with_its_memory(tmp_path: Path) -> None:
    model = tmp_path / "tiny.onnx"
    model.write_bytes(tiny_artifact().onnx)
    write_photo(Photo(np.zeros((8, 8, 3), np.uint8)), tmp_path / "a.png")
    usage = run_command(Command(tmp_path / "a.png", tmp_path / "b.png", model, 1, tile=0))
    assert usage.elapsed_s > 0
    assert usage.peak_bytes > 10_000_000
    with pytest.raises(subprocess.CalledProcessError):
        run_command(Command(tmp_path / "no.png", tmp_path / "b.png", model, 1))


def test_the_machine_is_described() -> None:
    facts = describe_machine()
    assert facts["cores_allowed"]
    assert facts["onnxruntime"]
