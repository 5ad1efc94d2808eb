"""Peers, each as its own documentation runs it, with the same weights and threads."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from restora.backends.base import Batch
from restora.models.checkpoint_files import NCNN_SUFFIX, files_of_checkpoint
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
    """ncnn on the published ncnn file, or on a conversion by pnnx for the size of the first batch.

    full: compute in FP32; else with ncnn's own defaults, which store tensors in 16 bits
    """

    def __init__(self, model: Model, threads: int, *, full: bool) -> None:
        import ncnn

        self._ncnn = ncnn
        self._threads, self._full = threads, full
        published = model.checkpoint
        self._published = published if published and published.suffix == NCNN_SUFFIX else None
        if self._published is None:
            import pnnx

            self._pnnx = pnnx
            if model.is_face:
                raise WayNotHereError("ncnn: pnnx does not convert this network")
        self._make_network = model.make_network
        # a model of the same name may have been trained again since its conversion was kept
        digest = hashlib.sha256(model.path.read_bytes()).hexdigest()[:12]
        self._name = f"{model.name}-{model.weights}-{digest}"
        self._folder = model.folder / "ncnn"
        self._nets: dict[tuple[int, ...], Any] = {}

    def run(self, batch: Batch) -> Batch:
        results = []
        for picture in batch:
            net = self._net_for(picture.shape)
            pixels = np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / 255
            with net.create_extractor() as extractor:
                extractor.input(net.input_names()[0], self._ncnn.Mat(pixels))
                code, out = extractor.extract(net.output_names()[0])
            if code:
                raise WayNotHereError(f"ncnn: extracting failed with code {code}")
            result = np.clip(np.array(out), 0, 1) * 255
            results.append(np.rint(result).astype(np.uint8).transpose(1, 2, 0))
        return np.stack(results)

    def close(self) -> None:
        self._nets.clear()

    def _net_for(self, shape: tuple[int, ...]) -> Any:
        """The published network takes any size, one of pnnx the size that it was converted for."""
        key = () if self._published else shape
        if key not in self._nets:
            param, weights = self._files_for(shape)
            net = self._ncnn.Net()
            net.opt.num_threads = self._threads
            if self._full:
                for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
                    setattr(net.opt, f"use_{option}", False)
            if net.load_param(str(param)) or net.load_model(str(weights)):
                raise WayNotHereError(f"ncnn: {param} cannot be loaded")
            self._nets[key] = net
        return self._nets[key]

    def _files_for(self, shape: tuple[int, ...]) -> tuple[Path, Path]:
        if self._published is not None:
            param, weights = files_of_checkpoint(self._published)
            return param, weights
        stem = self._convert(shape)
        return Path(f"{stem}.ncnn.param"), Path(f"{stem}.ncnn.bin")

    def _convert(self, shape: tuple[int, ...]) -> Path:
        """Converted once, which takes pnnx minutes, and kept beside the artifact."""
        stem = self._folder / f"{self._name}-{shape[0]}x{shape[1]}"
        if not stem.with_name(f"{stem.name}.ncnn.bin").exists():
            import torch

            with tempfile.TemporaryDirectory() as name:
                draft = Path(name) / "network"
                example = torch.rand(1, 3, *shape[:2])
                with _without_output():
                    self._pnnx.export(self._make_network(), f"{draft}.pt", (example,))
                if not Path(f"{draft}.ncnn.bin").exists():
                    raise WayNotHereError(
                        f"ncnn: pnnx did not convert {self._name}; it needs about 15 GB of memory "
                        "for the full-size networks"
                    )
                self._folder.mkdir(parents=True, exist_ok=True)
                for ending in (".ncnn.param", ".ncnn.bin"):
                    shutil.move(f"{draft}{ending}", f"{stem}{ending}")
        return stem


@contextmanager
def _without_output() -> Iterator[None]:
    """Keep what a native program writes to the terminal away from it."""
    sys.stdout.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        for number in (1, 2):
            os.dup2(nothing.fileno(), number)
        try:
            yield
        finally:
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)


class OpenVinoPeer:
    """OpenVINO on the artifact with no setting but the threads: it chooses its own precision."""

    def __init__(self, model: Model, threads: int) -> None:
        from restora.backends.openvino_core import get_core

        core = get_core()
        compiled = core.compile_model(
            core.read_model(model.artifact.onnx), "CPU", {"INFERENCE_NUM_THREADS": threads}
        )
        self._request: Any = compiled.create_infer_request()

    def run(self, batch: Batch) -> Batch:
        return np.array(self._request.infer({"image": batch})["restored"])

    def close(self) -> None:
        self._request = None


class OnnxRuntimePeer:
    """ONNX Runtime on the artifact with no setting but the threads."""

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
    "ncnn": lambda m, t: NcnnPeer(m, t, full=False),
    "ncnn-fp32": lambda m, t: NcnnPeer(m, t, full=True),
    "openvino": OpenVinoPeer,
    "onnxruntime": OnnxRuntimePeer,
}
