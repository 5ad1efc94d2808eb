"""ONNX Runtime on a GPU, on pictures that lie on the device. Needs onnxruntime-gpu and NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.errors import MissingBackendError

Pictures = NDArray[np.uint8]
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
_OPTIONS: dict[str, dict[str, Any]] = {
    CUDA: {"use_tf32": 0, "cudnn_conv_algo_search": "EXHAUSTIVE"},
    TENSORRT: {"trt_fp16_enable": 1},
}


class OrtRun:
    """One artifact with one provider.

    Raises MissingBackendError if the provider does not start: ONNX Runtime lists providers that
    cannot load their libraries, and goes on with the next one.
    """

    def __init__(self, path: Path, provider: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingBackendError("onnxruntime is not installed") from error
        if provider not in onnxruntime.get_available_providers():
            raise MissingBackendError(f"this onnxruntime has no {provider}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=[(provider, _OPTIONS[provider])]
            )
        except Exception as error:
            raise MissingBackendError(f"{provider} does not load the model: {error}") from error
        if self._session.get_providers()[0] != provider:
            raise MissingBackendError(f"{provider} does not start")
        self._runtime = onnxruntime
        self._binding: Any = None

    def __call__(self, batch: Pictures) -> Pictures:
        """Pictures to pictures, from host to host."""
        restored, *_ = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        return np.asarray(restored, np.uint8)

    def on_device(self, batch: Pictures) -> None:
        """The network alone: input and outputs stay on the device. Returns when it is finished."""
        if self._binding is None:
            self._binding = self._bind(batch)
        self._session.run_with_iobinding(self._binding)

    def _bind(self, batch: Pictures) -> Any:
        binding = self._session.io_binding()
        there = self._runtime.OrtValue.ortvalue_from_numpy(batch, "cuda", 0)
        binding.bind_ortvalue_input(self._session.get_inputs()[0].name, there)
        for output in self._session.get_outputs():
            binding.bind_output(output.name, "cuda", 0)
        return binding


def cuda_ways(artifacts: dict[str, Path]) -> Iterator[tuple[str, Path, str]]:
    """Name, artifact and provider of each way. artifacts: by precision, those that there are."""
    for precision, path in artifacts.items():
        yield f"ONNX Runtime CUDA {precision.upper()}", path, CUDA


def tensorrt_ways(artifacts: dict[str, Path]) -> Iterator[tuple[str, Path, str]]:
    """The same for its TensorRT provider, which builds an engine from the FP32 artifact first."""
    yield "ONNX Runtime TensorRT FP16", artifacts["fp32"], TENSORRT
