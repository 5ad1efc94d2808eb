"""Run artifacts on the CPU with ONNX Runtime."""

import logging
import time
from typing import cast

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
from restora.backends.cores import count_allowed_cores
from restora.backends.options import CpuOptions
from restora.errors import SessionError

logger = logging.getLogger(__name__)

INPUT, OUTPUT, MEANS = "image", "restored", "channel_means"
_QUIET = 3  # ONNX Runtime's log level "error"; its warnings are about graph optimization


class OnnxRuntimeCpuSession:
    """A session on the CPU: the slowest backend, but one that every machine supports."""

    def __init__(self, artifact: Artifact, options: CpuOptions | None = None) -> None:
        self._info = artifact.info
        self._limits = limits_of(artifact.info)
        self.options = options or CpuOptions()
        self.threads = self.options.threads or count_allowed_cores()
        started = time.perf_counter()
        try:
            self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
                artifact.onnx,
                sess_options=self._session_options(),
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # its own exception types are not public
            raise SessionError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load {self._info.model}: {error}"
            ) from error
        logger.info(
            "%s on ONNX Runtime %s, %d threads, loaded in %.2f s",
            self._info.model,
            onnxruntime.__version__,
            self.threads,
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
            output, means = session.run([OUTPUT, MEANS], {INPUT: batch})
        except Exception as error:  # its own exception types are not public
            raise SessionError(
                f"ONNX Runtime failed on {self._info.model} with input {batch.shape}: {error}"
            ) from error
        result = cast(Batch, output)
        check_result(result, batch, self._info)
        check_finite(np.asarray(means), self._info)
        return result

    def close(self) -> None:
        self._session = None

    def _session_options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.enable_cpu_mem_arena = self.options.memory_arena
        options.enable_mem_pattern = self.options.memory_pattern
        spinning = "1" if self.options.spinning else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        if self.options.arm64_bf16:
            options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "1")
        return options
