"""Open an artifact on ncnn, in a precision that passes the self-check."""

from __future__ import annotations

import logging

from restora.artifact import AccuracyGate, Artifact
from restora.backends.ncnn.module import VulkanDevice, choose_device, import_ncnn
from restora.backends.ncnn.net import Arithmetic
from restora.backends.ncnn.session import FP32, NcnnSession
from restora.backends.options import CpuOptions, PrecisionChoice, SessionOptions
from restora.backends.self_check import HALF_GATE, check_answer
from restora.errors import AccuracyGateError, MissingBackendError

logger = logging.getLogger(__name__)

BF16 = Arithmetic("bf16")
FP16, FP16_STORED = Arithmetic("fp16", half=True), Arithmetic("fp16")
# Winograd convolutions round differently than PyTorch: single values differ by one gray level
FP32_GATE = AccuracyGate(psnr_mean=70, psnr_min=65)
_ON_CPU: dict[PrecisionChoice, tuple[Arithmetic, ...]] = {
    "auto": (FP32,),
    "fp32": (FP32,),
    "bf16": (BF16,),
    "fp16": (FP16_STORED,),
}
# with FP16 arithmetic a GPU is fastest; where that is too inaccurate, FP16 still halves the memory
_ON_VULKAN: dict[PrecisionChoice, tuple[Arithmetic, ...]] = {
    "auto": (FP16, FP16_STORED, FP32),
    "fp32": (FP32,),
    "bf16": (BF16,),
    "fp16": (FP16, FP16_STORED),
}


def open_on_cpu(artifact: Artifact, options: SessionOptions) -> NcnnSession:
    """Open a session on the CPU; in FP32 if the precision is "auto".

    Raises MissingBackendError if ncnn, the CPU or the network does not support it, and
    AccuracyGateError with the measured PSNR if the self-check fails.
    """
    ncnn = import_ncnn()
    if options.precision == "fp16" and not ncnn.cpu_support_arm_asimdhp():
        raise MissingBackendError("ncnn computes in fp16 on ARM CPUs with FP16 only")
    return _open_first(_pick(_ON_CPU, options.precision), artifact, options.cpu)


def open_on_vulkan(artifact: Artifact, options: SessionOptions) -> NcnnSession:
    """Open a session on a Vulkan device; if the precision is "auto", in the first of FP16 with
    FP16 arithmetic, FP16 with FP32 arithmetic and FP32 that passes the self-check.

    Raises the errors of open_on_cpu.
    """
    arithmetics = _pick(_ON_VULKAN, options.precision)
    device = choose_device(import_ncnn(), options.gpu)
    return _open_first(arithmetics, artifact, options.cpu, device=device)


def _pick(
    table: dict[PrecisionChoice, tuple[Arithmetic, ...]], precision: PrecisionChoice
) -> tuple[Arithmetic, ...]:
    if precision not in table:
        raise MissingBackendError(f"ncnn runs in fp32, fp16 or bf16, not in {precision}")
    return table[precision]


def _open_first(
    arithmetics: tuple[Arithmetic, ...],
    artifact: Artifact,
    cpu: CpuOptions,
    device: VulkanDevice | None = None,
) -> NcnnSession:
    """The first that passes the self-check."""
    for arithmetic in arithmetics[:-1]:
        try:
            return _open_checked(arithmetic, artifact, cpu, device)
        except AccuracyGateError as error:  # noqa: PERF203
            logger.info("not in %s: %s", arithmetic.describe(), error)
    return _open_checked(arithmetics[-1], artifact, cpu, device)


def _open_checked(
    arithmetic: Arithmetic, artifact: Artifact, cpu: CpuOptions, device: VulkanDevice | None
) -> NcnnSession:
    session = NcnnSession(artifact, cpu, arithmetic=arithmetic, device=device)
    gate = FP32_GATE if arithmetic.storage == "fp32" else HALF_GATE
    try:
        figures = check_answer(session, artifact, gate=gate)
    except BaseException:
        session.close()
        raise
    logger.info(
        "%s in %s: PSNR %.1f dB mean, %.1f dB min",
        artifact.info.model,
        arithmetic.describe(),
        *figures,
    )
    return session
