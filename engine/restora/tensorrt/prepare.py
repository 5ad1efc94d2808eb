"""A plan that is right: from the cache or built, checked against the reference, or the next rung.

The rungs are precisions, the asked one first and FP32 last. What was tried and why it was refused
travels with the plan.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from restora.artifact import ACCURACY_GATES, Artifact, Precision, SelfCheck, measure_psnr
from restora.errors import AccuracyGateError, BuildError, NonFiniteOutputError, OptionError
from restora.tensorrt.build import BuildOptions, build_plan
from restora.tensorrt.cache import CachedPlan, PlanCache, plan_key
from restora.tensorrt.cuda import Device
from restora.tensorrt.module import features_of
from restora.tensorrt.profiles import Profile, Shape
from restora.tensorrt.progress import BuildProgress
from restora.tensorrt.run import Batch, PlanRunner
from restora.tensorrt.timing import TimingCacheFile

logger = logging.getLogger(__name__)

FP32_PSNR = 70.0  # a twentieth of a grey level; bit equality is not asked of another runtime
# where there is no artefact of a rung after the first, it is left out
LADDERS: dict[Precision, tuple[Precision, ...]] = {
    "fp32": ("fp32",),
    "fp16": ("fp16", "mixed", "fp32"),
    "mixed": ("mixed", "fp32"),
}
Run = Callable[[Batch], Batch]


@dataclass(frozen=True, slots=True)
class Rung:
    """One precision to try, and the artefact that it is built from."""

    options: BuildOptions
    artifact: Artifact


def plan_rungs(trt: Any, options: BuildOptions, artifacts: Sequence[Artifact]) -> list[Rung]:
    """The asked precision and those to go back to, with the artefacts that TensorRT needs for them.

    artifacts  of one model, in the precisions that are here

    Raises OptionError if the asked precision cannot be built from any of them.
    """
    typed = features_of(trt).strongly_typed
    by_precision = {artifact.info.precision: artifact for artifact in artifacts}
    rungs = []
    ladder = LADDERS.get(options.precision, (options.precision, "fp32"))
    for precision in ladder:
        source = by_precision.get(precision if typed or precision == "int8" else "fp32")
        if source is not None:
            rungs.append(Rung(replace(options, precision=precision), source))
        elif precision == options.precision:
            needed = precision if typed else "fp32"
            raise OptionError(
                f"{precision} on TensorRT {features_of(trt).version} needs the {needed} artefact: "
                f"make it with `restora export --precision {needed}`"
            )
    return rungs


def prepare_plan(
    trt: Any,
    device: Device,
    cache: PlanCache,
    rungs: Sequence[Rung],
    profile: Profile,
    *,
    trusted: Run | None = None,
    progress: BuildProgress | None = None,
    report: Callable[[str], None] = logger.info,
) -> tuple[CachedPlan, Rung]:
    """The first rung's plan that passes its gate, from the cache or built now.

    trusted  see check_plan

    Raises AccuracyGateError or BuildError, with all that was tried, if none does.
    """
    refused: list[str] = []
    kind: type[BuildError | AccuracyGateError] = BuildError
    facts = device.facts(str(trt.__version__))
    for rung in rungs:
        model = rung.artifact.info.model
        key = plan_key(rung.artifact.sha256, facts, rung.options, profile)

        def build(rung: Rung = rung, model: str = model) -> CachedPlan:
            report(f"building {model}, {rung.options.precision}, for {profile.largest}")
            timing = TimingCacheFile(cache.folder, facts)
            built = build_plan(
                trt,
                rung.artifact,
                profile,
                rung.options,
                timing_cache=timing.load(),
                progress=progress,
            )
            timing.store(built.timing_cache)
            figures = check_plan(trt, device, built.plan, rung, built.profile, trusted)
            return CachedPlan(
                built.plan,
                {
                    "model": model,
                    "options": asdict(built.options),
                    "profile": asdict(built.profile),
                    "device": asdict(facts),
                    "build_s": round(built.seconds, 2),
                    "attempts": [*refused, *built.attempts],
                    "selfcheck": figures,
                },
            )

        try:
            plan, _ = cache.get_or_build(key, build)
        except (AccuracyGateError, NonFiniteOutputError, BuildError) as error:
            refused.append(f"{rung.options.precision}: {error}")
            if not isinstance(error, BuildError):
                kind = AccuracyGateError
            report(f"{model}, {rung.options.precision}, is refused: {error}")
            continue
        return plan, rung
    raise kind(f"no plan of {rungs[0].artifact.info.model} can be used: {'; '.join(refused)}")


def prepare_plans(
    trt: Any,
    device: Device,
    cache: PlanCache,
    rungs: Sequence[Rung],
    profiles: Sequence[Profile],
    *,
    progress: BuildProgress | None = None,
    report: Callable[[str], None] = logger.info,
) -> list[tuple[CachedPlan, Rung]]:
    """Plans of one precision for all profiles; the one for several sizes comes first.

    It is checked against the artefact's own answer, and is what the others are held against.
    Raises as prepare_plan.
    """
    wide, *hot = sorted(profiles, key=lambda profile: profile.is_hot)
    plan, rung = prepare_plan(trt, device, cache, rungs, wide, progress=progress, report=report)
    prepared = [(plan, rung)]
    with PlanRunner(
        trt,
        device,
        plan.plan,
        info=rung.artifact.info,
        profile=profile_of(plan),
        onnx=rung.artifact.onnx if rung.options.strip_weights else None,
        version_compatible=rung.options.version_compatible,
    ) as runner:
        prepared += [
            prepare_plan(
                trt,
                device,
                cache,
                [rung],
                profile,
                trusted=lambda image: runner.run(image)[0],
                progress=progress,
                report=report,
            )
            for profile in hot
        ]
    return prepared


def profile_of(plan: CachedPlan) -> Profile:
    """The sizes that a plan really takes: fewer than were asked for if the build needed that."""
    shapes = {name: tuple(shape) for name, shape in plan.facts["profile"].items()}
    return Profile(shapes["smallest"], shapes["best"], shapes["largest"])


def check_plan(
    trt: Any,
    device: Device,
    plan: bytes,
    rung: Rung,
    profile: Profile,
    trusted: Run | None = None,
) -> dict[str, Any]:
    """Run the artefact's own picture through a plan; the figures, if they pass the gate.

    trusted  a plan of the same network that has passed, for profiles that hold no size of which
             the answer is known

    Raises AccuracyGateError, also if nothing can be compared, or NonFiniteOutputError.
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
        raise NonFiniteOutputError(f"the plan of {info.model} puts out NaN or Inf")
    mean, least = measure_psnr(got, known.answer)
    judge(rung, mean, least)
    return {"psnr_mean": round(mean, 2), "psnr_min": round(least, 2), "gate": "passed"}


def judge(rung: Rung, mean: float, least: float) -> None:
    """Raise AccuracyGateError, with the numbers, unless a plan's PSNR passes the gate."""
    info = rung.artifact.info
    gate = ACCURACY_GATES[rung.options.precision, info.io]
    need_mean = FP32_PSNR if gate.psnr_mean is None else gate.psnr_mean
    need_least = FP32_PSNR if gate.max_error is not None else gate.psnr_min or 0.0
    # written so that a NaN figure fails
    if not (mean >= need_mean and least >= need_least):
        raise AccuracyGateError(
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
