"""Choose a backend and open an artifact on it. A backend is imported only when it is tried."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from restora.artifact import Artifact, check_accuracy, read_artifact
from restora.backends.artifact_ref import ArtifactRef, pick_artifact
from restora.backends.options import GPU_BACKENDS, Backend, SessionOptions
from restora.backends.self_check import require_accuracy
from restora.cache_folder import cache_folder
from restora.errors import (
    AccuracyGateError,
    MissingBackendError,
    RestoraError,
)

if TYPE_CHECKING:
    from restora.backends.base import Session

logger = logging.getLogger(__name__)
_EIGHT_BITS = {"int8", "int8_fp16", "fp8"}


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """An open session, and how it was chosen.

    backend: name of the backend, or "given" for a session that the caller opened
    precision: compute precision of the session
    refused: reasons why faster backends were not chosen, by backend
    sha256: SHA-256 of the artifact file in use, which may be a file beside the named one; None for
        a session without a file
    arithmetic: the precision of all layers if they differ, such as "int8+bf16"
    """

    session: Session
    backend: Backend | Literal["given"]
    precision: str
    refused: tuple[tuple[Backend, str], ...] = ()
    sha256: str | None = None
    arithmetic: str | None = None

    def describe(self) -> str:
        """Describe in one line which model runs on which backend."""
        return f"{self.session.info.model} runs on {self.backend} in {self.precision}"

    def describe_choice(self) -> str:
        """Describe the session, and why no faster backend was chosen."""
        why = _describe_refusals(self.refused)
        return f"{self.describe()} ({why})" if why else self.describe()


def open_session(
    artifact: Artifact | Path | str, *, options: SessionOptions | None = None
) -> Session:
    """Open an artifact on the requested backend, or on the fastest one that works.

    artifact: an artifact, or its path; restora looks for other precisions in the same folder
        (NAME.fp16.onnx beside NAME.onnx)
    options: None chooses everything automatically

    An artifact in 8 bits that any backend refuses for its accuracy does not run on another one:
    with the backend "auto" the named FP32 artifact runs instead, in the precision "auto", and a
    warning says so.

    The choice and the reasons are logged. Raises MissingBackendError if the requested backend, or
    every backend, fails to start, and AccuracyGateError if the artifact misses its accuracy
    threshold.
    """
    return choose_session(artifact, options=options).session


def choose_session(
    artifact: Artifact | Path | str, *, options: SessionOptions | None = None
) -> OpenedSession:
    """Open an artifact like open_session, and return how the backend was chosen too."""
    options = options or SessionOptions()
    if isinstance(artifact, Artifact):
        check_accuracy(artifact.info)
        source = ArtifactRef(artifact)
    else:
        source = ArtifactRef(read_artifact(artifact), Path(artifact))
    if options.backend != "auto":
        return _opened(source, options.backend, *_OPENERS[options.backend](source, options))
    try:
        return _choose(source, options)
    except AccuracyGateError as error:
        if options.precision not in _EIGHT_BITS or source.named.info.precision != "fp32":
            raise
        logger.warning("%s is not used: %s", options.precision, error)
        return _choose(source, replace(options, precision="auto"))


def _choose(source: ArtifactRef, options: SessionOptions) -> OpenedSession:
    """Open the first backend that works, in the order of `order_backends`."""
    refused: list[tuple[Backend, str]] = []
    for backend, asked in _order_backends(source.named, options):
        try:
            session, precision = _OPENERS[backend](source, asked)
        except MissingBackendError as error:  # noqa: PERF203
            refused.append((backend, str(error)))
        except RestoraError as error:
            # what is refused in 8 bits runs nowhere
            in_8_bits = {asked.precision, source.named.info.precision} & _EIGHT_BITS
            if backend == "cpu" or (in_8_bits and isinstance(error, AccuracyGateError)):
                raise
            # the backend is installed but fails, so the user must see it
            logger.warning("%s cannot run on %s: %s", source.named.info.model, backend, error)
            refused.append((backend, str(error)))
        else:
            opened = _opened(source, backend, session, precision, tuple(refused))
            logger.info("%s", opened.describe_choice())
            return opened
    extra = "gpu" if options.gpu is not None else "cpu"
    other = "; GPUs of other vendors run with the backend ncnn-vulkan" if extra == "gpu" else ""
    raise MissingBackendError(
        f"no backend that can run {source.named.info.model} works on this machine: install "
        f"one with pip install 'restora[{extra}]'; {_describe_refusals(refused)}{other}"
    )


def may_run_fp16(options: SessionOptions) -> bool:
    """Whether an FP16 artifact is useful: the options allow a GPU, and there is a driver."""
    if options.precision not in ("auto", "fp16"):
        return False
    if options.backend not in ("auto", *GPU_BACKENDS) or options.device == "cpu":
        return False
    from restora.backends.driver import require_driver

    try:
        require_driver()
    except MissingBackendError:
        return False
    return True


def _order_backends(
    artifact: Artifact, options: SessionOptions
) -> list[tuple[Backend, SessionOptions]]:
    """As trial.order_backends, which is imported only where there are trials."""
    folder = cache_folder("trials", variable="RESTORA_TRIALS")
    if folder is None or not folder.is_dir():
        return [(backend, options) for backend in options.backends()]
    from restora.backends.trial import order_backends

    return order_backends(artifact, options)


def _opened(
    source: ArtifactRef,
    backend: Backend,
    session: Session,
    precision: str,
    refused: tuple[tuple[Backend, str], ...] = (),
) -> OpenedSession:
    arithmetic = getattr(session, "arithmetic", None)  # of the layers that are not INT8
    mixed = f"int8+{arithmetic}" if precision == "int8" and arithmetic else None
    return OpenedSession(session, backend, precision, refused, source.sha256_of(session), mixed)


def _describe_refusals(refused: Sequence[tuple[Backend, str]]) -> str:
    """List the reasons, each one once, with the backends that it applies to."""
    reasons: dict[str, list[str]] = {}
    for backend, reason in refused:
        reasons.setdefault(reason, []).append(backend)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def _open_tensorrt(source: ArtifactRef, options: SessionOptions) -> tuple[Session, str]:
    from restora.backends.driver import require_driver

    require_driver()  # before the modules of TensorRT are imported for nothing
    from restora.backends.tensorrt.open import open_tensorrt

    return open_tensorrt(source.family(options.precision), options)


def _open_cuda(source: ArtifactRef, options: SessionOptions) -> tuple[Session, str]:
    from restora.backends.driver import require_driver

    require_driver()
    try:
        from restora.backends.onnxruntime_cuda import OnnxRuntimeCudaSession
    except ImportError as error:
        from restora.backends.cuda_packages import name_gpu_extra

        raise MissingBackendError(
            "running on CUDA needs ONNX Runtime for GPUs: "
            f"pip install 'restora[{name_gpu_extra()}]' ({error})"
        ) from error
    chosen = pick_artifact(source, options, half=True)
    gpu = options.gpu or 0
    try:
        session = require_accuracy(
            OnnxRuntimeCudaSession(chosen, gpu=gpu),
            chosen,
            remember=False,  # which GPU is unknown
        )
    except AccuracyGateError as error:
        if options.precision != "auto" or chosen is source.named:
            raise
        logger.warning("%s is not used: %s", chosen.info.precision, error)
        chosen = source.named
        session = require_accuracy(OnnxRuntimeCudaSession(chosen, gpu=gpu), chosen, remember=False)
    return session, chosen.info.precision


def _open_openvino(source: ArtifactRef, options: SessionOptions) -> tuple[Session, str]:
    try:
        from restora.backends.openvino_cpu import (
            OpenVinoSession,
            open_bf16,
            open_fastest,
            open_int8,
        )
    except ModuleNotFoundError as error:
        raise MissingBackendError(
            f"running on OpenVINO needs pip install 'restora[openvino]' ({error})"
        ) from error
    except (ImportError, OSError, RuntimeError) as error:  # for example, it needs a home directory
        raise MissingBackendError(f"OpenVINO is installed but does not start: {error}") from error
    if options.precision == "fp8":
        raise MissingBackendError("fp8 needs the TensorRT backend")
    asked = options.precision if options.precision != "auto" else source.named.info.precision
    if asked == "int8":
        return open_int8(pick_artifact(source, options, half=False), options.cpu), "int8"
    automatic = options.backend == "auto"
    if options.precision == "bf16" or (options.precision == "auto" and automatic):
        try:
            return open_bf16(source.named, options.cpu), "bf16"
        except AccuracyGateError as error:
            if not automatic:
                raise
            raise MissingBackendError(str(error)) from error
    if automatic:
        raise MissingBackendError("in fp32 it is no faster than ONNX Runtime")
    chosen = pick_artifact(source, options, half=False)
    open_ = open_fastest if options.precision == "auto" else OpenVinoSession
    session = require_accuracy(open_(chosen, options.cpu), chosen)
    return session, session.precision


def _open_cpu(source: ArtifactRef, options: SessionOptions) -> tuple[Session, str]:
    try:
        from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
    except ImportError as error:
        raise MissingBackendError(
            f"running a model on the CPU needs ONNX Runtime: pip install 'restora[cpu]' ({error})"
        ) from error
    chosen = pick_artifact(source, options, half=False)
    if chosen.info.precision == "int8":
        logger.warning(
            "%s in int8 is slower than in fp32 on ONNX Runtime; OpenVINO runs it faster "
            "(pip install 'restora[openvino]')",
            chosen.info.model,
        )
    session = require_accuracy(OnnxRuntimeCpuSession(chosen, options.cpu), chosen)
    return session, chosen.info.precision


def _open_ncnn(source: ArtifactRef, options: SessionOptions) -> tuple[Session, str]:
    try:
        from restora.backends.ncnn.open import open_on_cpu, open_on_vulkan
    except ImportError as error:
        raise MissingBackendError(
            f"running on ncnn needs pip install 'restora[ncnn]' ({error})"
        ) from error
    open_ = open_on_vulkan if options.backend == "ncnn-vulkan" else open_on_cpu
    session = open_(source.named, options)
    return session, session.precision


_OPENERS: dict[Backend, Callable[[ArtifactRef, SessionOptions], tuple[Session, str]]] = {
    "tensorrt": _open_tensorrt,
    "cuda": _open_cuda,
    "openvino": _open_openvino,
    "cpu": _open_cpu,
    "ncnn": _open_ncnn,
    "ncnn-vulkan": _open_ncnn,
}
