"""Check a session with the self-check of its artifact."""

from __future__ import annotations

from typing import Any

from restora.artifact import ACCURACY_GATES, AccuracyGate, Artifact, measure_psnr
from restora.backends.shell import NetworkSession
from restora.errors import AccuracyGateError

# the 16-bit precisions must reach the threshold of FP16
HALF_GATE = ACCURACY_GATES["fp16", "uint8"]


def check_answer(
    session: NetworkSession[Any], artifact: Artifact, *, gate: AccuracyGate = HALF_GATE
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
