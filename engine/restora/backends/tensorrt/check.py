"""Check a plan with the self-check of its artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from restora.artifact import Artifact, ArtifactInfo, SelfCheck, find_session_gate, measure_psnr
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.engine_step import Batch, PlanRunner
from restora.backends.tensorrt.profiles import Profile, Shape
from restora.errors import AccuracyGateError, RefusedPlanError

FP32_PSNR = 70.0  # a twentieth of a gray level, since another runtime need not be bit-exact
Run = Callable[[Batch], Batch]


@dataclass(frozen=True, slots=True)
class PrecisionCandidate:
    """A precision to try, and the artifact that it is built from."""

    options: BuildOptions
    artifact: Artifact


def check_plan(
    trt: Any,
    device: Device,
    plan: bytes,
    rung: PrecisionCandidate,
    profile: Profile,
    reference_run: Run | None = None,
) -> dict[str, Any]:
    """Run the self-check of the artifact on a plan. Returns the measured accuracy.

    reference_run: runs a batch, image by image, on a plan of the same network that has passed, as
        the reference for profiles that do not include the size of the self-check

    Raises RefusedPlanError if the result is wrong, and AccuracyGateError if there is no reference.
    """
    selfcheck = rung.artifact.read_selfcheck()
    info = rung.artifact.info
    if selfcheck is None:
        raise AccuracyGateError(
            f"{info.model} has no self-check, so its plans cannot be checked: export it again "
            "with this version"
        )
    batches = split_selfcheck(selfcheck, profile)
    if not batches:
        if reference_run is None:
            raise AccuracyGateError(
                f"there is no reference result of {info.model} for {profile.best}: build a plan "
                "for several sizes first"
            )
        image = mirror_to(selfcheck.image, profile.best)
        batches = [SelfCheck(image, reference_run(image))]
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
        results = [_run_checked(runner, info, batch) for batch in batches]
    mean, least = measure_psnr(
        np.concatenate(results), np.concatenate([batch.answer for batch in batches])
    )
    check_gate(rung, mean, least)
    return {"psnr_mean": round(mean, 2), "psnr_min": round(least, 2), "gate": "passed"}


def check_gate(rung: PrecisionCandidate, mean: float, least: float) -> None:
    """Raise RefusedPlanError, with the measured PSNR, unless a plan passes its gate."""
    info = rung.artifact.info
    gate = find_session_gate(info, rung.options.precision)
    need_mean = FP32_PSNR if gate.psnr_mean is None else gate.psnr_mean
    need_least = FP32_PSNR if gate.max_error is not None else gate.psnr_min or 0.0
    # written so that NaN fails
    if not (mean >= need_mean and least >= need_least):
        raise RefusedPlanError(
            f"the plan of {info.model} in {rung.options.precision} fails its gate: its PSNR is "
            f"{mean:.1f} dB mean and {least:.1f} dB min, {need_mean:.0f} and {need_least:.0f} are "
            "required"
        )


def split_selfcheck(selfcheck: SelfCheck, profile: Profile) -> list[SelfCheck]:
    """All images of the self-check in batches that the profile accepts, with repeated images where
    a batch must be larger. Empty if the profile does not accept their size."""
    smallest, largest = profile.smallest[0], profile.largest[0]
    count = len(selfcheck.image)
    size = min(max(count, smallest), largest)
    batches = []
    for first in range(0, count, size):
        length = max(min(size, count - first), smallest)
        chosen = [(first + offset) % count for offset in range(length)]
        batches.append(SelfCheck(selfcheck.image[chosen], selfcheck.answer[chosen]))
    return batches if all(profile.holds(batch.image.shape) for batch in batches) else []


def mirror_to(image: Batch, shape: Shape) -> Batch:
    """Fill a batch of this shape with the images and their mirror images."""
    batch, height, width, _ = shape
    picture = image[0]
    pads = [(0, max(0, height - picture.shape[0])), (0, max(0, width - picture.shape[1])), (0, 0)]
    large = np.pad(picture, pads, mode="reflect")[:height, :width]
    return np.repeat(large[None], batch, 0)


def _run_checked(runner: PlanRunner, info: ArtifactInfo, batch: SelfCheck) -> Batch:
    got, means = runner.run(batch.image)
    if not np.isfinite(means).all():
        raise RefusedPlanError(f"the plan of {info.model} returns NaN or Inf")
    if got.shape != batch.answer.shape:
        raise RefusedPlanError(
            f"the plan of {info.model} must return shape {batch.answer.shape}, it returns "
            f"{got.shape}"
        )
    return got
