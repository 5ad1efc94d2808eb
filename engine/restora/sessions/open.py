"""Open an artefact on a runtime. Each runtime's file is imported only when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from restora.artifact import Artifact, check_accuracy, read_artifact
from restora.errors import MissingBackendError

if TYPE_CHECKING:
    from restora.sessions.base import Session
    from restora.sessions.options import CpuOptions


def open_session(artifact: Artifact | Path | str, *, options: CpuOptions | None = None) -> Session:
    """Load an artefact onto the CPU.

    artifact  an artefact, or the path of one
    options   CpuOptions; None: all cores, no spinning

    Raises MissingBackendError if ONNX Runtime is not installed, AccuracyGateError if the artefact
    failed its gate when it was made.
    """
    if isinstance(artifact, Artifact):
        check_accuracy(artifact.info)
    else:
        artifact = read_artifact(artifact)
    try:
        from restora.sessions.onnxruntime_cpu import OnnxRuntimeCpuSession
    except ImportError as error:
        raise MissingBackendError(
            f"running a model on the CPU needs ONNX Runtime: pip install 'restora[cpu]' ({error})"
        ) from error
    return OnnxRuntimeCpuSession(artifact, options)
