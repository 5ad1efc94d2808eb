"""Run artifacts on an NVIDIA GPU with ONNX Runtime's CUDA provider."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from restora.artifact import Artifact
from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.base import Batch
from restora.backends.cuda_packages import name_gpu_extra
from restora.backends.shell import NetworkSession
from restora.errors import (
    DeviceLostError,
    DeviceMemoryError,
    MissingBackendError,
    RestoraError,
    SessionError,
)

PROVIDER = "CUDAExecutionProvider"
_QUIET = 3  # ONNX Runtime's log level "error"; its warnings are about graph optimization
_MEMORY_WORDS = ("failed to allocate memory", "out of memory", "alloc_failed")
_LOST_WORDS = ("illegal memory access", "cuda failure 700", "device-side assert", "launch failure")


class OnnxRuntimeCudaSession(NetworkSession[Any]):
    """A session on a GPU without TensorRT: slower, but it needs no engine to be built.

    gpu: index of the GPU

    Raises MissingBackendError if the provider does not start. A provider that ONNX Runtime lists
    may still lack a library.
    """

    def __init__(self, artifact: Artifact, *, gpu: int = 0) -> None:
        if PROVIDER not in onnxruntime.get_available_providers():
            raise MissingBackendError(
                "this ONNX Runtime has no CUDA provider: uninstall onnxruntime, then "
                f"pip install 'restora[{name_gpu_extra()}]'"
            )
        self._gpu = gpu
        super().__init__(
            artifact,
            runtime=f"ONNX Runtime {onnxruntime.__version__} on CUDA",
            setup=f"GPU {gpu}",
        )
        self._start()

    def _load(self, artifact: Artifact) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(
            artifact.onnx, sess_options=options, providers=[(PROVIDER, _settings(self._gpu))]
        )
        if session.get_providers()[0] != PROVIDER:
            raise MissingBackendError(
                "ONNX Runtime's CUDA provider is installed but does not start: the versions of "
                "CUDA, cuDNN or the driver do not match; RESTORA_LOG=DEBUG shows its messages"
            )
        session.disable_fallback()
        return session

    def _compute(self, network: Any, batch: Batch) -> tuple[Any, Any]:
        binding = network.io_binding()
        binding.bind_ortvalue_input(
            INPUT, onnxruntime.OrtValue.ortvalue_from_numpy(batch, "cuda", self._gpu)
        )
        for name in (OUTPUT, MEANS):
            binding.bind_output(name, "cuda", self._gpu)
        network.run_with_iobinding(binding)
        output, means = (value.numpy() for value in binding.get_outputs())
        return output, means

    def _start(self) -> None:
        """Run the smallest batch, since the provider loads its libraries on the first run."""
        side = self._limits.fixed_tile or self._limits.multiple * 8
        try:
            self.run(np.zeros((1, side, side, self._info.input_channels), self._info.io))
        except SessionError as error:
            raise MissingBackendError(
                f"ONNX Runtime's CUDA provider does not run here: {error}"
            ) from error

    def _translate(self, error: Exception, shape: tuple[int, ...]) -> RestoraError:
        words = str(error).lower()
        failure = super()._translate(error, shape)
        if any(mark in words for mark in _LOST_WORDS):
            return DeviceLostError(f"{failure}; this process cannot use the GPU any more")
        if any(mark in words for mark in _MEMORY_WORDS):
            return DeviceMemoryError(f"{failure}: use smaller tiles (--tile)")
        return failure


def _settings(gpu: int) -> dict[str, str]:
    return {
        "device_id": str(gpu),
        # the exhaustive search would run for every size of tile
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": "1",
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
    }
