"""Facts about the runtimes that the engine is compared with."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from restora_tools.gpu import torch_run
from restora_tools.gpu.effort import QUICK
from restora_tools.gpu.ort_run import CUDA, TENSORRT, cuda_ways, tensorrt_ways
from restora_tools.gpu.peers import measure_peers
from restora_tools.gpu.places import Places
from restora_tools.gpu.subjects import TINY
from restora_tools.gpu.torch_run import COMPILED, TorchRun, Way


def rows_of(places: Places, kind: str) -> dict[str, dict[str, Any]]:
    assert measure_peers(places, TINY, kind, print, device="cpu", effort=QUICK) == "done"
    return {row["way"]: row for row in places.rows("peers")}


def test_a_compiled_network_sees_one_shape_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one makes torch.compile build a slower network for any shape."""
    shapes, settings = set(), {}

    def compile_(network: Any, **words: Any) -> Any:
        settings.update(words)

        def run(x: torch.Tensor) -> torch.Tensor:
            shapes.add(tuple(x.shape))
            return torch.zeros(2, 3, 64, 64, dtype=x.dtype)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    rows = rows_of(Places(tmp_path), "compiled")
    assert settings == {"dynamic": False, "mode": "max-autotune"}
    assert shapes == {(2, 3, 32, 32)}
    assert rows[COMPILED[0].name]["psnr_mean"] < 40  # it is compared with the true answer


def test_channels_last_leaves_weights_of_five_dimensions_alone() -> None:
    """Such as those of StyleGAN2's convolutions."""

    class Modulated(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1, 3, 3, 1, 1))
            self.convolution = torch.nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.convolution(torch.nn.functional.conv2d(x, self.weight[0]))
            return y

    network = Modulated()
    run = TorchRun(network, Way("channels_last", channels_last=True), device="cpu")
    assert network.convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert run(np.zeros((1, 8, 8, 3), np.uint8)).shape == (1, 8, 8, 3)


def test_cudnn_searches_its_kernels_and_fp32_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    monkeypatch.setattr(cudnn, "benchmark", False)
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    torch_run.prepare_torch()
    assert cudnn.benchmark
    assert not cudnn.allow_tf32
    assert not matmul.allow_tf32


def test_a_runtime_that_is_not_here_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    places = Places(tmp_path)
    rows = rows_of(places, "onnxruntime") | rows_of(places, "ort-tensorrt")
    assert {row["not_measured"] for row in rows.values()} == {
        "MissingBackendError: onnxruntime is not installed"
    }
    assert set(rows) == {"ONNX Runtime CUDA FP32", "ONNX Runtime TensorRT FP16"}


def test_a_provider_that_does_not_start_is_not_measured_as_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime names providers whose libraries are missing, and falls back to its CPU."""
    session = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    fake = SimpleNamespace(
        get_available_providers=lambda: [CUDA],
        SessionOptions=SimpleNamespace,
        InferenceSession=lambda *_, **__: session,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)  # type: ignore[arg-type]
    places = Places(tmp_path)
    rows = rows_of(places, "onnxruntime") | rows_of(places, "ort-tensorrt")
    assert "CUDAExecutionProvider does not start" in rows["ONNX Runtime CUDA FP32"]["not_measured"]
    assert f"has no {TENSORRT}" in rows["ONNX Runtime TensorRT FP16"]["not_measured"]


def test_onnxruntime_runs_each_artifact_that_there_is() -> None:
    artifacts = {"fp32": Path("a.onnx"), "fp16": Path("a.fp16.onnx")}
    assert [name for name, _, _ in cuda_ways(artifacts)] == [
        "ONNX Runtime CUDA FP32",
        "ONNX Runtime CUDA FP16",
    ]
    assert [path for _, path, _ in tensorrt_ways(artifacts)] == [Path("a.onnx")]


def test_accuracy_is_that_of_the_network_that_is_timed(tmp_path: Path) -> None:
    places = Places(tmp_path)
    rows = rows_of(places, "eager")
    assert rows["eager PyTorch FP32"]["psnr_mean"] == 150
    assert 40 < rows["eager PyTorch FP16 channels_last"]["psnr_mean"] < 150
    answer = np.load(tmp_path / "reference" / "tiny.2x32x32.npy")
    batch = np.zeros((2, 32, 32, 3), np.uint8)
    run = TorchRun(TINY.network.make(), torch_run.EAGER[0], device="cpu")
    assert run(batch).shape == answer.shape == (2, 64, 64, 3)
