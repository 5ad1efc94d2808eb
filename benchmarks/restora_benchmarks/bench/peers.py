"""Peers, each as its own documentation runs it, with the same weights and threads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from restora.sessions.base import Batch
from restora_benchmarks.bench.models import Model
from restora_benchmarks.bench.ways import Runner, WayNotHereError


class TorchPeer:
    """The PyTorch network itself, pictures converted as the published script does."""

    def __init__(self, model: Model, threads: int, *, channels_last: bool, bf16: bool) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        self._bf16 = bf16
        self._face = model.is_face
        network = model.make_network()
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._network: Any = network.to(memory_format=self._format)  # type: ignore[call-overload]

    def run(self, batch: Batch) -> Batch:
        torch = self._torch
        x = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float() / 255
        x = x.contiguous(memory_format=self._format)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            y = (self._network(x * 2 - 1) + 1) / 2 if self._face else self._network(x)
        pixels = (y.float().clamp(0, 1) * 255).round().to(torch.uint8)
        return np.asarray(pixels.permute(0, 2, 3, 1).contiguous().numpy())

    def close(self) -> None:
        self._network = None


class NcnnPeer:
    """ncnn with its own defaults, the network converted by pnnx for the size of the first batch."""

    def __init__(self, model: Model, threads: int) -> None:
        import ncnn
        import pnnx

        if model.is_face:
            raise WayNotHereError("ncnn: pnnx does not convert this network")
        self._ncnn, self._pnnx = ncnn, pnnx
        self._threads = threads
        self._make_network = model.make_network
        self._nets: dict[tuple[int, ...], Any] = {}

    def run(self, batch: Batch) -> Batch:
        results = []
        for picture in batch:
            net = self._net_for(picture.shape)
            pixels = np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / 255
            with net.create_extractor() as extractor:
                extractor.input("in0", self._ncnn.Mat(pixels))
                code, out = extractor.extract("out0")
            if code:
                raise WayNotHereError(f"ncnn: extracting failed with code {code}")
            result = np.clip(np.array(out), 0, 1) * 255
            results.append(np.rint(result).astype(np.uint8).transpose(1, 2, 0))
        return np.stack(results)

    def close(self) -> None:
        self._nets.clear()

    def _net_for(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._nets:
            import torch

            with tempfile.TemporaryDirectory() as name, redirect_stdout(StringIO()):
                stem = Path(name) / "network"
                example = torch.rand(1, 3, *shape[:2])
                with redirect_stderr(StringIO()):
                    self._pnnx.export(self._make_network(), f"{stem}.pt", (example,))
                net = self._ncnn.Net()
                net.opt.num_threads = self._threads
                net.load_param(f"{stem}.ncnn.param")
                net.load_model(f"{stem}.ncnn.bin")
            self._nets[shape] = net
        return self._nets[shape]


class OpenVinoPeer:
    """OpenVINO on the artefact with no setting but the threads: it chooses its own precision."""

    def __init__(self, model: Model, threads: int) -> None:
        import openvino

        core = openvino.Core()
        compiled = core.compile_model(
            core.read_model(model.artifact.onnx), "CPU", {"INFERENCE_NUM_THREADS": threads}
        )
        self._request: Any = compiled.create_infer_request()

    def run(self, batch: Batch) -> Batch:
        return np.array(self._request.infer({"image": batch})["restored"])

    def close(self) -> None:
        self._request = None


class OnnxRuntimePeer:
    """ONNX Runtime on the artefact with no setting but the threads."""

    def __init__(self, model: Model, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session: Any = onnxruntime.InferenceSession(
            model.artifact.onnx, options, providers=["CPUExecutionProvider"]
        )

    def run(self, batch: Batch) -> Batch:
        return np.asarray(self._session.run(["restored"], {"image": batch})[0])

    def close(self) -> None:
        self._session = None


OPENERS: dict[str, Callable[[Model, int], Runner]] = {
    "torch": lambda m, t: TorchPeer(m, t, channels_last=False, bf16=False),
    "torch-channels-last": lambda m, t: TorchPeer(m, t, channels_last=True, bf16=False),
    "torch-bf16": lambda m, t: TorchPeer(m, t, channels_last=True, bf16=True),
    "ncnn": NcnnPeer,
    "openvino": OpenVinoPeer,
    "onnxruntime": OnnxRuntimePeer,
}
