"""Run artifacts on the CPU with OpenVINO: in FP32, INT8, or bfloat16 if the self-check passes."""

from __future__ import annotations

import logging
from typing import Any, Literal

import openvino

from restora.artifact import Artifact, find_gate, find_session_gate
from restora.artifact.tensors import INPUT
from restora.backends.base import Batch
from restora.backends.cores import count_allowed_cores
from restora.backends.openvino_cache import make_cache_folder
from restora.backends.openvino_core import get_core
from restora.backends.openvino_rounding import drop_repeats, join_rounding
from restora.backends.openvino_shapes import FixedShapes, Requests, Shape
from restora.backends.openvino_weights import diffuse_rounding
from restora.backends.options import CpuOptions
from restora.backends.self_check import check_answer
from restora.backends.shell import NetworkSession
from restora.backends.two_parts import (
    Compute,
    Run,
    limits_of_parts,
    load_network,
    split_upsampler,
)
from restora.errors import AccuracyGateError, MissingBackendError

logger = logging.getLogger(__name__)

DEVICE = "CPU"
Arithmetic = Literal["f32", "bf16"]
# of the head, which takes windows of any size; measured with RRDBNet: 29 and 16
HEAD_BYTES_PER_ELEMENT: dict[Arithmetic, int] = {"f32": 32, "bf16": 16}
# of the trunk, which is compiled for the shape of a large tile; measured with RRDBNet: 12 and 7
BYTES_PER_ELEMENT: dict[Arithmetic, int] = {"f32": 14, "bf16": 8}
_SETUPS: dict[tuple[Arithmetic, bool], str] = {
    ("f32", False): "f32",
    ("bf16", False): "bf16 with diffused weights",
    ("bf16", True): "bf16 with diffused weights and a head in f32",
}
# OpenVINO caches prepared kernels for each layer and input size, 5000 by default: in a folder with
# many photo sizes, each size then takes another megabyte. This is enough for the few tile sizes of
# one photo.
_KERNELS_KEPT = 256


def open_bf16(artifact: Artifact, options: CpuOptions) -> OpenVinoSession:
    """Open a session that computes in bfloat16.

    Raises MissingBackendError if the CPU or the artifact does not support it, and AccuracyGateError
    with the measured PSNR if the self-check fails.
    """
    if artifact.info.kind in ("detector", "parser"):
        raise MissingBackendError(f"a {artifact.info.kind} runs in fp32 only")
    if artifact.info.precision != "fp32":
        raise MissingBackendError(
            f"bf16 is made from fp32 artifacts, not {artifact.info.precision}"
        )
    require_bf16()
    gate = find_session_gate(artifact.info, "fp16")
    session = OpenVinoSession(artifact, options, arithmetic="bf16")
    try:
        mean, least = check_answer(session, artifact, gate=gate)
    except AccuracyGateError as error:
        session.close()
        if not session.in_parts:
            raise
        logger.info("%s computes the end of the network in fp32: %s", artifact.info.model, error)
        session = OpenVinoSession(artifact, options, arithmetic="bf16", exact_head=True)
        mean, least = check_answer(session, artifact, gate=gate)
    logger.info("%s in bf16: PSNR %.1f dB mean, %.1f dB min", artifact.info.model, mean, least)
    return session


def open_fastest(artifact: Artifact, options: CpuOptions) -> OpenVinoSession:
    """Open a session in bfloat16 if possible, otherwise in FP32. The reason is logged."""
    try:
        return open_bf16(artifact, options)
    except (MissingBackendError, AccuracyGateError) as error:
        logger.info("%s runs in fp32: %s", artifact.info.model, error)
        return OpenVinoSession(artifact, options)


def open_int8(artifact: Artifact, options: CpuOptions) -> OpenVinoSession:
    """Open an INT8 artifact, with its other layers in bfloat16 if possible and otherwise in FP32.

    The self-check must pass in both cases. Raises AccuracyGateError with the measured PSNR.
    """
    try:
        require_bf16()
        session = OpenVinoSession(artifact, options, arithmetic="bf16")
        figures = check_answer(session, artifact, gate=find_gate(artifact.info))
    except (MissingBackendError, AccuracyGateError) as error:
        logger.info("%s computes its other layers in fp32: %s", artifact.info.model, error)
        session = OpenVinoSession(artifact, options)
        figures = check_answer(session, artifact, gate=find_gate(artifact.info))
    logger.info("%s in int8: PSNR %.1f dB mean, %.1f dB min", artifact.info.model, *figures)
    return session


def require_bf16() -> None:
    """Raise MissingBackendError unless this CPU supports bfloat16."""
    if "BF16" not in get_core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"):
        raise MissingBackendError("this CPU has no bfloat16")


class OpenVinoSession(NetworkSession[Compute]):
    """A session on the CPU with OpenVINO.

    arithmetic: "f32" computes in the types of the artifact; "bf16" computes in bfloat16, whose
        accuracy the caller must check
    exact_head: compute the head of a network in two parts in the types of the artifact
    """

    def __init__(
        self,
        artifact: Artifact,
        options: CpuOptions | None = None,
        *,
        arithmetic: Arithmetic = "f32",
        exact_head: bool = False,
    ) -> None:
        self._arithmetic, self._exact_head = arithmetic, exact_head
        self.options = options or CpuOptions()
        self.threads = self.options.threads or count_allowed_cores()
        self._parts = split_upsampler(artifact)
        super().__init__(
            artifact,
            runtime=f"OpenVINO {openvino.__version__}",
            setup=f"{_SETUPS[arithmetic, exact_head]}, {self.threads} threads",
            limits=limits_of_parts(
                artifact.info,
                self._parts,
                bytes_per_element=BYTES_PER_ELEMENT[arithmetic],
                head_bytes_per_element=HEAD_BYTES_PER_ELEMENT[arithmetic],
            ),
        )

    @property
    def precision(self) -> str:
        if self._info.precision == "int8":
            return "int8"
        return "bf16" if self._arithmetic == "bf16" else self._info.precision

    @property
    def arithmetic(self) -> Arithmetic:
        """The arithmetic of all layers that are not INT8."""
        return self._arithmetic

    @property
    def in_parts(self) -> bool:
        """Whether the trunk and the head of the network run on tiles of different sizes."""
        return self._parts is not None

    def _load(self, artifact: Artifact) -> Compute:
        return load_network(artifact, self._parts, self._load_graph)

    def _load_graph(self, onnx: bytes) -> Run:
        exact = self._exact_head and self._parts is not None and onnx is self._parts.head
        arithmetic = "f32" if exact else self._arithmetic
        core = get_core()
        model = core.read_model(onnx)
        if self._info.precision == "int8":
            join_rounding(model)
            drop_repeats(model)
        elif arithmetic == "bf16":
            diffuse_rounding(model)
        settings = self._settings(arithmetic)
        compiled = Requests(core.compile_model(model, DEVICE, settings))
        if self._parts is None or onnx is not self._parts.trunk:
            return compiled.run

        def compile_for(shape: Shape) -> Requests:
            fixed = model.clone()
            fixed.reshape({INPUT: shape})
            # each photo may have another shape, and a file in the cache is as large as the network
            kept = {name: value for name, value in settings.items() if name != "CACHE_DIR"}
            return Requests(core.compile_model(fixed, DEVICE, kept))

        return FixedShapes(INPUT, compiled, compile_for).run

    def _compute(self, network: Compute, batch: Batch) -> tuple[Any, Any]:
        return network(batch)

    def _settings(self, arithmetic: Arithmetic) -> dict[str, Any]:
        settings: dict[str, Any] = {
            # by default OpenVINO uses bfloat16 if the CPU supports it
            "INFERENCE_PRECISION_HINT": arithmetic,
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS_KEPT,
        }
        folder = make_cache_folder()
        if folder is not None:
            settings["CACHE_DIR"] = str(folder)
        return settings
