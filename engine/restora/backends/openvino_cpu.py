"""Run artifacts on the CPU with OpenVINO: in FP32, INT8, or bfloat16 if the self-check passes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, Literal, cast

import numpy as np
import openvino

from restora.artifact import (
    ACCURACY_GATES,
    AccuracyGate,
    Artifact,
    ArtifactInfo,
    find_gate,
    measure_psnr,
)
from restora.backends.base import (
    Batch,
    SizeLimits,
    check_batch,
    check_finite,
    check_result,
    limits_of,
)
from restora.backends.cores import count_allowed_cores
from restora.backends.openvino_rounding import join_rounding
from restora.backends.options import CpuOptions
from restora.cache_folder import cache_folder, check_own_folder
from restora.errors import (
    AccuracyGateError,
    MissingBackendError,
    SessionError,
    UnsafePathError,
)

logger = logging.getLogger(__name__)

DEVICE = "CPU"
INPUT, OUTPUT, MEANS = "image", "restored", "channel_means"
Arithmetic = Literal["f32", "bf16"]
# OpenVINO caches prepared kernels for each layer and input size, 5000 by default: in a folder with
# many photo sizes, each size then takes another megabyte. This is enough for the few tile sizes of
# one photo.
_KERNELS_KEPT = 256
# bfloat16 must reach the threshold of FP16
_GATE = ACCURACY_GATES["fp16", "uint8"]


def open_bf16(artifact: Artifact, options: CpuOptions) -> OpenVinoSession:
    """Open a session that computes in bfloat16.

    Raises MissingBackendError if the CPU or the artifact does not support it, and AccuracyGateError
    with the measured PSNR if the self-check fails.
    """
    if artifact.info.kind not in ("upsampler", "face"):
        raise MissingBackendError(f"a {artifact.info.kind} runs in fp32 only")
    if artifact.info.precision != "fp32":
        raise MissingBackendError(
            f"bf16 is made from fp32 artifacts, not {artifact.info.precision}"
        )
    require_bf16()
    session = OpenVinoSession(artifact, options, arithmetic="bf16")
    mean, least = check_answer(session, artifact)
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
    if "BF16" not in openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"):
        raise MissingBackendError("this CPU has no bfloat16")


def check_answer(
    session: OpenVinoSession, artifact: Artifact, *, gate: AccuracyGate = _GATE
) -> tuple[float, float]:
    """Run the self-check of an artifact. Returns the mean and minimum PSNR in dB.

    Raises AccuracyGateError if they miss `gate`, or if the artifact has no self-check.
    """
    selfcheck = artifact.read_selfcheck()
    if selfcheck is None:
        raise AccuracyGateError(f"{artifact.info.model} has no self-check")
    mean, minimum = measure_psnr(session.run(selfcheck.image), selfcheck.answer)
    need_mean, need_min = gate.psnr_mean or 0.0, gate.psnr_min or 0.0
    # written so that NaN fails
    if not (mean >= need_mean and minimum >= need_min):
        raise AccuracyGateError(
            f"{artifact.info.model} must reach a PSNR of {need_mean:.0f} dB mean and "
            f"{need_min:.0f} dB min, in {session.precision} it reaches {mean:.1f} and {minimum:.1f}"
        )
    return mean, minimum


class OpenVinoSession:
    """A session on the CPU with OpenVINO.

    arithmetic: "f32" computes in the types of the artifact; "bf16" computes in bfloat16, whose
        accuracy the caller must check
    """

    def __init__(
        self,
        artifact: Artifact,
        options: CpuOptions | None = None,
        *,
        arithmetic: Arithmetic = "f32",
    ) -> None:
        self._info = artifact.info
        self._limits = limits_of(artifact.info)
        self._arithmetic = arithmetic
        self.options = options or CpuOptions()
        self.threads = self.options.threads or count_allowed_cores()
        started = time.perf_counter()
        try:
            core = openvino.Core()
            model = core.read_model(artifact.onnx)
            if artifact.info.precision == "int8":
                join_rounding(model)
            self._compiled: Any = core.compile_model(model, DEVICE, self._settings())
        except Exception as error:  # OpenVINO's exception types are not public
            raise SessionError(
                f"OpenVINO {openvino.__version__} cannot load {self._info.model}: {error}"
            ) from error
        self._idle: LifoQueue[Any] = LifoQueue()
        self._closing = threading.Lock()
        logger.info(
            "%s on OpenVINO %s, %s, %d threads, loaded in %.2f s",
            self._info.model,
            openvino.__version__,
            arithmetic,
            self.threads,
            time.perf_counter() - started,
        )

    @property
    def info(self) -> ArtifactInfo:
        return self._info

    @property
    def limits(self) -> SizeLimits:
        return self._limits

    @property
    def precision(self) -> str:
        """The precision of the session, as in SessionOptions."""
        if self._info.precision == "int8":
            return "int8"
        return "bf16" if self._arithmetic == "bf16" else self._info.precision

    @property
    def arithmetic(self) -> Arithmetic:
        """The arithmetic of all layers that are not INT8."""
        return self._arithmetic

    def run(self, batch: Batch) -> Batch:
        check_batch(batch, self._info, self._limits)
        with self._borrow_request() as request:
            try:
                results = request.infer({INPUT: np.ascontiguousarray(batch)}, share_inputs=True)
                # copied: the request writes its next results into the same memory
                output, means = np.array(results[OUTPUT]), np.array(results[MEANS])
            except Exception as error:  # its own exception types are not public
                raise SessionError(
                    f"OpenVINO failed on {self._info.model} with input {batch.shape}: {error}"
                ) from error
        check_result(output, batch, self._info)
        check_finite(means, self._info)
        return cast(Batch, output)

    def close(self) -> None:
        with self._closing:
            self._compiled = None
            try:
                while True:
                    self._idle.get_nowait()
            except Empty:
                pass

    @contextmanager
    def _borrow_request(self) -> Iterator[Any]:
        """Borrow an inference request, which runs one batch at a time."""
        compiled = self._compiled
        if compiled is None:
            raise SessionError(f"the session of {self._info.model} is closed")
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = compiled.create_infer_request()
        try:
            yield request
        finally:
            with self._closing:
                if self._compiled is not None:
                    self._idle.put(request)

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            # by default OpenVINO uses bfloat16 if the CPU supports it
            "INFERENCE_PRECISION_HINT": self._arithmetic,
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


def make_cache_folder() -> Path | None:
    """Create the folder in which OpenVINO caches compiled networks for faster starts.

    Returns None, and logs why, if there is no home directory, if the folder cannot be written, or
    if other users can write to it: compiled networks are executable code.
    """
    folder = cache_folder("openvino")
    if folder is None:
        logger.info("no OpenVINO cache: the user has no home directory")
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_own_folder(folder, purpose="the OpenVINO cache")
    except UnsafePathError as error:
        logger.warning("there is no OpenVINO cache, so starts are slower: %s", error)
        return None
    except OSError as error:
        logger.info("no OpenVINO cache: %s", error)
        return None
    if not os.access(folder, os.W_OK):
        logger.info("no OpenVINO cache: %s cannot be written", folder)
        return None
    return folder
