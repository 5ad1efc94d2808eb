"""Run artifacts on an NVIDIA GPU with ONNX Runtime's CUDA provider."""

from __future__ import annotations

import logging
import time
from typing import Any, cast

import numpy as np
import onnxruntime

from restora.artifact import Artifact, ArtifactInfo
from restora.backends.base import (
    Batch,
    SizeLimits,
    check_batch,
    check_finite,
    check_result,
    limits_of,
)
from restora.errors import (
    DeviceLostError,
    DeviceMemoryError,
    MissingBackendError,
    RestoraError,
    SessionError,
)

logger = logging.getLogger(__name__)

PROVIDER = "CUDAExecutionProvider"
INPUT, OUTPUT, MEANS = "image", "restored", "channel_means"
_QUIET = 3  # ONNX Runtime's log level "error"; its warnings are about graph optimization
_MEMORY_WORDS = ("failed to allocate memory", "out of memory", "alloc_failed")
_LOST_WORDS = ("illegal memory access", "cuda failure 700", "device-side assert", "launch failure")


class OnnxRuntimeCudaSession:
    """A session on a GPU without TensorRT: slower, but it needs no engine to be built.

    gpu: index of the GPU

    Raises MissingBackendError if the provider does not start. A provider that ONNX Runtime lists
    may still lack a library.
    """

    def __init__(self, artifact: Artifact, *, gpu: int = 0) -> None:
        self._info = artifact.info
        self._limits = limits_of(artifact.info)
        self._gpu = gpu
        started = time.perf_counter()
        if PROVIDER not in onnxruntime.get_available_providers():
            raise MissingBackendError(
                "this ONNX Runtime has no CUDA provider: uninstall onnxruntime, then "
                "pip install 'restora[gpu]'"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        try:
            session = onnxruntime.InferenceSession(
                artifact.onnx, sess_options=options, providers=[(PROVIDER, _settings(gpu))]
            )
        except Exception as error:  # its own exception types are not public
            raise SessionError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load {self._info.model}: {error}"
            ) from error
        if session.get_providers()[0] != PROVIDER:
            raise MissingBackendError(
                "ONNX Runtime's CUDA provider is installed but does not start: the versions of "
                "CUDA, cuDNN or the driver do not match; RESTORA_LOG=DEBUG shows its messages"
            )
        session.disable_fallback()
        self._session: Any = session
        self._start()
        logger.info(
            "%s on ONNX Runtime %s, CUDA, GPU %d, loaded in %.2f s",
            self._info.model,
            onnxruntime.__version__,
            gpu,
            time.perf_counter() - started,
        )

    @property
    def info(self) -> ArtifactInfo:
        return self._info

    @property
    def limits(self) -> SizeLimits:
        return self._limits

    def run(self, batch: Batch) -> Batch:
        check_batch(batch, self._info, self._limits)
        session = self._session
        if session is None:
            raise SessionError(f"the session of {self._info.model} is closed")
        try:
            binding = session.io_binding()
            binding.bind_ortvalue_input(
                INPUT,
                onnxruntime.OrtValue.ortvalue_from_numpy(
                    np.ascontiguousarray(batch), "cuda", self._gpu
                ),
            )
            for name in (OUTPUT, MEANS):
                binding.bind_output(name, "cuda", self._gpu)
            session.run_with_iobinding(binding)
            output, means = (value.numpy() for value in binding.get_outputs())
        except Exception as error:  # its own exception types are not public
            raise _translate(error, self._info, batch.shape) from error
        result = cast(Batch, output)
        check_result(result, batch, self._info)
        check_finite(np.asarray(means), self._info)
        return result

    def close(self) -> None:
        self._session = None

    def _start(self) -> None:
        """Run the smallest batch, since the provider loads its libraries on the first run."""
        side = self._limits.fixed_tile or self._limits.multiple * 8
        try:
            self.run(np.zeros((1, side, side, 3), self._info.io))
        except SessionError as error:
            raise MissingBackendError(
                f"ONNX Runtime's CUDA provider does not run here: {error}"
            ) from error


def _settings(gpu: int) -> dict[str, str]:
    return {
        "device_id": str(gpu),
        # the exhaustive search would run for every size of tile
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": "1",
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
    }


def _translate(error: Exception, info: ArtifactInfo, shape: tuple[int, ...]) -> RestoraError:
    words = str(error).lower()
    said = f"ONNX Runtime on CUDA failed on {info.model} with input {shape}: {error}"
    if any(mark in words for mark in _LOST_WORDS):
        return DeviceLostError(f"{said}; this process cannot use the GPU any more")
    if any(mark in words for mark in _MEMORY_WORDS):
        return DeviceMemoryError(f"{said}: use smaller tiles (--tile)")
    return SessionError(said)
