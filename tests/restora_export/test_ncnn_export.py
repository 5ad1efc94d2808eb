"""Facts about exports to the files of ncnn, for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fakes import tiny_artifact, with_selfcheck
from processes import run
from recipe import fill_network
from restora.artifact import SelfCheck, read_artifact
from restora.backends.ncnn.write import write_ncnn
from restora.errors import AccuracyGateError, CheckpointError, MissingBackendError, OptionError
from restora.models import DEFAULT_MODEL, find_artifact
from restora_export import ncnn_export
from restora_export.checkpoint import load_checkpoint
from restora_export.ncnn_export import export_ncnn
from restora_export.reference import SRVGGNetCompact

ncnn = pytest.importorskip("ncnn")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return fill_network(SRVGGNetCompact(2, 8, 1, "prelu"), 3, "srvgg").eval()


@pytest.fixture
def checkpoint(network: torch.nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "small.pth"
    torch.save({"params": network.state_dict()}, path)
    return path


def run_ncnn(param: Path, image: torch.Tensor) -> torch.Tensor:
    """As Real-ESRGAN-ncnn-vulkan runs it: RGB planes in 0..1, "data" to "output"."""
    net = ncnn.Net()
    assert net.load_param(str(param)) == 0
    assert net.load_model(str(param.with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    planes = np.ascontiguousarray(image.numpy())
    extractor.input("data", ncnn.Mat(planes))
    code, output = extractor.extract("output")
    assert code == 0
    return torch.from_numpy(np.array(output))


def test_the_command_writes_files_that_other_programs_run(
    network: torch.nn.Module, checkpoint: Path
) -> None:
    done = run(checkpoint.parent, "export", checkpoint, "--format", "ncnn", "--precision", "fp16")
    assert done.returncode == 0, done.stderr
    param = checkpoint.with_suffix(".fp16.param")
    image = torch.rand(3, 12, 20, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(image[None])[0]
    # weights in FP16 are half a step of 2**-11 off
    assert (run_ncnn(param, image) - expected).abs().max() < 0.01
    assert expected.std() > 0.05
    loaded = load_checkpoint(param)
    for key, value in network.state_dict().items():
        assert torch.allclose(loaded.state[key], value, rtol=2**-10), key
    again = run(checkpoint.parent, "export", checkpoint, "--format", "ncnn", "--precision", "fp16")
    assert again.returncode == 2
    assert "give --overwrite" in again.stderr
    wrong = run(checkpoint.parent, "export", checkpoint, "--format", "ncnn", "--io", "float32")
    assert (wrong.returncode, "not with --io" in wrong.stderr) == (2, True)


def test_what_cannot_be_written_is_refused_before_the_network_is_loaded(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncnn_export, "load_blend", lambda *_: pytest.fail("loaded"))
    with pytest.raises(OptionError, match=r"must be a \.param file, got '.*out\.onnx'"):
        export_ncnn(checkpoint, tmp_path / "out.onnx")
    (tmp_path / "out.bin").touch()
    with pytest.raises(OptionError, match=r"out\.bin exists already"):
        export_ncnn(checkpoint, tmp_path / "out.param", overwrite=False)
    source = tmp_path / "net.param"
    for path in (source, tmp_path / "net.bin"):
        path.touch()
    with pytest.raises(OptionError, match="is the checkpoint itself"):
        export_ncnn(source, source)
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(MissingBackendError, match=r"restora\[ncnn\]"):
        export_ncnn(checkpoint)


def test_only_upsamplers_become_ncnn_files(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncnn_export, "facts_of", lambda _: SimpleNamespace(kind="detector"))
    with pytest.raises(OptionError, match="not of a detector"):
        export_ncnn(checkpoint)


def test_nothing_is_written_if_ncnn_fails_the_self_check(tmp_path: Path) -> None:
    image = np.full((1, 8, 8, 3), 100, np.uint8)
    wrong = with_selfcheck(tiny_artifact(), SelfCheck(image, np.zeros((1, 16, 16, 3), np.uint8)))
    with pytest.raises(AccuracyGateError, match="must reach a PSNR of"):
        write_ncnn(wrong, tmp_path / "wrong.param")
    assert not list(tmp_path.iterdir())


def test_folded_residual_scales_are_not_read_as_weights_of_a_checkpoint(tmp_path: Path) -> None:
    """An artifact's last convolution of a dense block holds the residual scale."""
    param = tmp_path / "lite.param"
    artifact = read_artifact(find_artifact(DEFAULT_MODEL, "uint8"))
    mean, minimum = write_ncnn(artifact, param, half=True)
    assert mean >= minimum > 50
    whole = tmp_path / "whole.param"
    write_ncnn(artifact, whole)
    sizes = [path.with_suffix(".bin").stat().st_size for path in (param, whole)]
    assert sizes[0] < 0.52 * sizes[1]
    with pytest.raises(CheckpointError):
        load_checkpoint(whole)
