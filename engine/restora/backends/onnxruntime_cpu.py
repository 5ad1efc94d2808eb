"""Run artifacts on the CPU with ONNX Runtime."""

from typing import Any

import onnxruntime

from restora.artifact import Artifact
from restora.backends.base import Batch
from restora.backends.cores import count_allowed_cores
from restora.backends.options import CpuOptions
from restora.backends.shell import NetworkSession
from restora.backends.two_parts import (
    Compute,
    Run,
    limits_of_parts,
    load_network,
    split_upsampler,
)

# measured with RRDBNet: at most 13 in the trunk of RealESRGAN_x4plus
BYTES_PER_ELEMENT = 14
# waking a sleeping thread takes longer than the pause between two layers
_SPIN_US = 200
_CAN_LIMIT_SPINNING = (1, 26)  # versions before spin without a limit, or not at all
_QUIET = 3  # ONNX Runtime's log level "error"; its warnings are about graph optimization


class OnnxRuntimeCpuSession(NetworkSession[Compute]):
    """A session on the CPU: the slowest backend, but one that every machine supports."""

    def __init__(self, artifact: Artifact, options: CpuOptions | None = None) -> None:
        self.options = options or CpuOptions()
        self.threads = self.options.threads or count_allowed_cores()
        self._parts = split_upsampler(artifact)
        super().__init__(
            artifact,
            runtime=f"ONNX Runtime {onnxruntime.__version__}",
            setup=f"{self.threads} threads",
            limits=limits_of_parts(artifact.info, self._parts, bytes_per_element=BYTES_PER_ELEMENT),
        )

    def _load(self, artifact: Artifact) -> Compute:
        return load_network(artifact, self._parts, self._load_graph)

    def _load_graph(self, onnx: bytes) -> Run:
        session = onnxruntime.InferenceSession(
            onnx,
            sess_options=self._session_options(),
            providers=["CPUExecutionProvider"],
        )
        return lambda inputs, outputs: session.run(outputs, inputs)

    def _compute(self, network: Compute, batch: Batch) -> tuple[Any, Any]:
        return network(batch)

    def _session_options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.enable_cpu_mem_arena = self.options.memory_arena
        options.enable_mem_pattern = self.options.memory_pattern
        spinning = "1" if self.options.spinning or _can_limit_spinning() else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        if not self.options.spinning:
            options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
        if self.options.arm64_bf16:
            options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "1")
        return options


def _can_limit_spinning() -> bool:
    major, minor = onnxruntime.__version__.split(".")[:2]
    return (int(major), int(minor)) >= _CAN_LIMIT_SPINNING
