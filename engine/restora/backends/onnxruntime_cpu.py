"""Run artifacts on the CPU with ONNX Runtime."""

from typing import Any

import onnxruntime

from restora.artifact import Artifact
from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.base import Batch
from restora.backends.cores import count_allowed_cores
from restora.backends.options import CpuOptions
from restora.backends.shell import NetworkSession

_QUIET = 3  # ONNX Runtime's log level "error"; its warnings are about graph optimization


class OnnxRuntimeCpuSession(NetworkSession[onnxruntime.InferenceSession]):
    """A session on the CPU: the slowest backend, but one that every machine supports."""

    def __init__(self, artifact: Artifact, options: CpuOptions | None = None) -> None:
        self.options = options or CpuOptions()
        self.threads = self.options.threads or count_allowed_cores()
        super().__init__(
            artifact,
            runtime=f"ONNX Runtime {onnxruntime.__version__}",
            setup=f"{self.threads} threads",
        )

    def _load(self, artifact: Artifact) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(
            artifact.onnx,
            sess_options=self._session_options(),
            providers=["CPUExecutionProvider"],
        )

    def _compute(self, network: onnxruntime.InferenceSession, batch: Batch) -> tuple[Any, Any]:
        output, means = network.run([OUTPUT, MEANS], {INPUT: batch})
        return output, means

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
