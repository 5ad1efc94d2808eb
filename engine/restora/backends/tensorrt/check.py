"""Hold a plan against the answer that travels with its artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from restora.artifact import ACCURACY_GATES, Artifact, SelfCheck, measure_psnr
from restora.backends.tensorrt.build import BuildOptions
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.engine_step import Batch, PlanRunner
from restora.backends.tensorrt.profiles import Profile, Shape
from restora.errors import AccuracyGateError, RefusedPlanError

FP32_PSNR = 70.0  # a twentieth of a gray level; bit equality is not asked of another runtime
Run = Callable[[Batch], Batch]


@dataclass(frozen=True, slots=True)
class PrecisionCandidate:
    """One precision to try, and the artifact that it is built from."""

    options: BuildOptions
    artifact: Artifact


def check_plan(
    trt: Any,
    device: Device,
    plan: bytes,
    rung: PrecisionCandidate,
    profile: Profile,
    trusted: Run | None = None,
) -> dict[str, Any]:
    """Run the artifact's own picture through a plan; the figures, if they pass the gate.

    trusted: a plan of the same network that has passed, for profiles that hold no size of which the
        answer is known

    Raises RefusedPlanError if the pictures are wrong, AccuracyGateError if nothing can be compared.
    """
    selfcheck = rung.artifact.read_selfcheck()
    info = rung.artifact.info
    if selfcheck is None:
        raise AccuracyGateError(
            f"{info.model} carries no self-check, so that its plans cannot be trusted: export it "
            "again with this version"
        )
    known = match_selfcheck(selfcheck, profile)
    if known is None:
        if trusted is None:
            raise AccuracyGateError(
                f"no answer of {info.model} is known for {profile.best}: build a plan for several "
                "sizes first"
            )
        image = mirror_to(selfcheck.image, profile.best)
        known = SelfCheck(image, np.concatenate([trusted(part[None]) for part in image]))
    onnx = rung.artifact.onnx if rung.options.strip_weights else None
    with PlanRunner(
        trt,
        device,
        plan,
        info=info,
        profile=profile,
        onnx=onnx,
        version_compatible=rung.options.version_compatible,
    ) as runner:
        got, means = runner.run(known.image)
    if not np.isfinite(means).all():
        raise RefusedPlanError(f"the plan of {info.model} gives NaN or Inf")
    if got.shape != known.answer.shape:
        raise RefusedPlanError(
            f"the plan of {info.model} must give pictures of shape {known.answer.shape}, it gives "
            f"{got.shape}"
        )
    mean, least = measure_psnr(got, known.answer)
    judge(rung, mean, least)
    return {"psnr_mean": round(mean, 2), "psnr_min": round(least, 2), "gate": "passed"}


def judge(rung: PrecisionCandidate, mean: float, least: float) -> None:
    """Raise RefusedPlanError, with the numbers, unless a plan's PSNR passes the gate."""
    info = rung.artifact.info
    gate = ACCURACY_GATES[rung.options.precision, info.io]
    need_mean = FP32_PSNR if gate.psnr_mean is None else gate.psnr_mean
    need_least = FP32_PSNR if gate.max_error is not None else gate.psnr_min or 0.0
    # written so that a NaN figure fails
    if not (mean >= need_mean and least >= need_least):
        raise RefusedPlanError(
            f"the plan of {info.model} in {rung.options.precision} fails its gate: PSNR "
            f"{mean:.1f} dB mean and {least:.1f} least, {need_mean:.0f} and {need_least:.0f} needed"
        )


def match_selfcheck(selfcheck: SelfCheck, profile: Profile) -> SelfCheck | None:
    """The picture in a batch that the profile takes, repeated or cut; None if its size is not."""
    count = min(max(len(selfcheck.image), profile.smallest[0]), profile.largest[0])
    chosen = [index % len(selfcheck.image) for index in range(count)]
    image = selfcheck.image[chosen]
    return SelfCheck(image, selfcheck.answer[chosen]) if profile.holds(image.shape) else None


def mirror_to(image: Batch, shape: Shape) -> Batch:
    """Fill a batch of this shape with the pictures and their mirror images."""
    batch, height, width, _ = shape
    picture = image[0]
    pads = [(0, max(0, height - picture.shape[0])), (0, max(0, width - picture.shape[1])), (0, 0)]
    large = np.pad(picture, pads, mode="reflect")[:height, :width]
    return np.repeat(large[None], batch, 0)
