"""Check a session with the self-check of its artifact."""

from __future__ import annotations

from typing import Any, TypeVar

from restora.artifact import ACCURACY_GATES, AccuracyGate, Artifact, find_gate, measure_psnr
from restora.backends.shell import NetworkSession
from restora.errors import AccuracyGateError

# the 16-bit precisions must reach the threshold of FP16
HALF_GATE = ACCURACY_GATES["fp16", "uint8"]
Checked = TypeVar("Checked", bound=NetworkSession[Any])


def require_accuracy(session: Checked, artifact: Artifact, *, remember: bool = True) -> Checked:
    """Return a session of an artifact below FP32 if it passes the self-check, or close it.

    remember: as in check_answer

    FP32 artifacts, and those without a self-check, are measured by their export only.
    Raises AccuracyGateError with the measured PSNR.
    """
    if artifact.info.precision == "fp32" or artifact.read_selfcheck() is None:
        return session
    try:
        check_answer(session, artifact, gate=find_gate(artifact.info), remember=remember)
    except BaseException:
        session.close()
        raise
    return session


def check_answer(
    session: NetworkSession[Any],
    artifact: Artifact,
    *,
    gate: AccuracyGate = HALF_GATE,
    remember: bool = True,
) -> tuple[float, float]:
    """The mean and minimum PSNR in dB that a session reaches on the self-check of its artifact.

    remember: use the figures of an earlier start, if this artifact passed on this runtime, with
        this setup, on this CPU; False if they depend on more than that

    Raises AccuracyGateError if they miss `gate`, or if the artifact has no self-check.
    """
    from restora.backends.passed_checks import find_passed, keep_passed

    known = find_passed(session, artifact) if remember else None
    mean, minimum = known or _measure(session, artifact)
    need_mean, need_min = gate.psnr_mean or 0.0, gate.psnr_min or 0.0
    # written so that NaN fails
    if not (mean >= need_mean and minimum >= need_min):
        raise AccuracyGateError(
            f"{artifact.info.model} must reach a PSNR of {need_mean:.0f} dB mean and "
            f"{need_min:.0f} dB min on its self-check with {session.runtime}, in "
            f"{session.precision} it reaches {mean:.1f} and {minimum:.1f}"
        )
    if remember and known is None:
        keep_passed(session, artifact, mean, minimum)
    return mean, minimum


def _measure(session: NetworkSession[Any], artifact: Artifact) -> tuple[float, float]:
    selfcheck = artifact.read_selfcheck()
    if selfcheck is None:
        raise AccuracyGateError(f"{artifact.info.model} has no self-check")
    return measure_psnr(session.run(selfcheck.image), selfcheck.answer)
