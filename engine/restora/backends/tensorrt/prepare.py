"""Load or build plans, and fall back to the next precision if a plan fails its self-check.

The candidates are the requested precision first and FP32 last. A plan records which candidates
were tried before it and why they were refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from restora.artifact import Artifact, Precision
from restora.backends.tensorrt.build import BuildOptions, build_plan
from restora.backends.tensorrt.cache import CachedPlan, PlanCache, Refusal, plan_key
from restora.backends.tensorrt.check import PrecisionCandidate, Run, check_plan
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.device import DeviceFacts
from restora.backends.tensorrt.engine_step import PlanRunner
from restora.backends.tensorrt.module import features_of
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.progress import BuildProgress
from restora.backends.tensorrt.timing import TimingCacheFile
from restora.errors import AccuracyGateError, BuildError, OptionError, RefusedPlanError

logger = logging.getLogger(__name__)

# candidates after the first one are skipped if there is no artifact for them
LADDERS: dict[Precision, tuple[Precision, ...]] = {
    "fp32": ("fp32",),
    "fp16": ("fp16", "mixed", "fp32"),
    "mixed": ("mixed", "fp32"),
}


def plan_candidates(
    trt: Any, options: BuildOptions, artifacts: Sequence[Artifact]
) -> list[PrecisionCandidate]:
    """The requested precision and its fallbacks, with the artifacts that they are built from.

    artifacts: the artifacts of one model, in all available precisions

    Raises OptionError if the requested precision cannot be built from any of them.
    """
    typed = features_of(trt).strongly_typed
    by_precision = {artifact.info.precision: artifact for artifact in artifacts}
    rungs = []
    ladder = LADDERS.get(options.precision, (options.precision, "fp32"))
    for precision in ladder:
        source = by_precision.get(precision if typed or precision == "int8" else "fp32")
        if source is not None:
            rungs.append(PrecisionCandidate(replace(options, precision=precision), source))
        elif precision == options.precision:
            needed = precision if typed else "fp32"
            raise OptionError(
                f"{precision} on TensorRT {features_of(trt).version} needs the {needed} artifact: "
                f"make it with `restora export --precision {needed}`"
            )
    return rungs


def prepare_plan(
    trt: Any,
    device: Device,
    cache: PlanCache,
    rungs: Sequence[PrecisionCandidate],
    profile: Profile,
    *,
    reference_run: Run | None = None,
    progress: BuildProgress | None = None,
    report: Callable[[str], None] = logger.info,
) -> tuple[CachedPlan, PrecisionCandidate]:
    """Load or build the plan of the first candidate that passes its gate.

    reference_run: see check_plan

    A plan that gave wrong results is not built again as long as the cache remembers it. A failed
    build is repeated, since the memory of the GPU may have been full.
    Raises AccuracyGateError or BuildError, which list all attempts, if no candidate passes.
    """
    refused: list[str] = []
    kind: type[BuildError | AccuracyGateError] = BuildError
    facts = device.facts(str(trt.__version__))
    for rung in rungs:
        model = rung.artifact.info.model
        key = plan_key(rung.artifact.sha256, facts, rung.options, profile)

        def build(rung: PrecisionCandidate = rung, model: str = model) -> CachedPlan | Refusal:
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
            about = {
                "model": model,
                "onnx": rung.artifact.sha256,
                "options": asdict(built.options),
                "profile": asdict(built.profile),
                "device": asdict(facts),
                "build_s": round(built.seconds, 2),
                "attempts": [*refused, *built.attempts],
            }
            try:
                figures = check_plan(trt, device, built.plan, rung, built.profile, reference_run)
            except RefusedPlanError as error:
                return Refusal(str(error), about)
            return CachedPlan(built.plan, {**about, "selfcheck": figures})

        try:
            made, is_new = cache.get_or_build(key, build)
        except (AccuracyGateError, BuildError) as error:
            refused.append(f"{rung.options.precision}: {error}")
            if not isinstance(error, BuildError):
                kind = AccuracyGateError
            report(f"{model}, {rung.options.precision}, is refused: {error}")
            continue
        if isinstance(made, CachedPlan):
            return made, rung
        refused.append(f"{rung.options.precision}: {made.reason}")
        kind = AccuracyGateError
        known = "" if is_new else " (known from an earlier build; `restora cache clear` forgets it)"
        report(f"{model}, {rung.options.precision}, is refused: {made.reason}{known}")
    raise kind(f"no plan of {rungs[0].artifact.info.model} can be used: {'; '.join(refused)}")


def prepare_plans(
    trt: Any,
    device: Device,
    cache: PlanCache,
    rungs: Sequence[PrecisionCandidate],
    profiles: Sequence[Profile],
    *,
    progress: BuildProgress | None = None,
    report: Callable[[str], None] = logger.info,
) -> list[tuple[CachedPlan, PrecisionCandidate]]:
    """Load or build the plans of all profiles in the same precision.

    The plan for several sizes comes first: it runs the self-check and is the reference for the
    others. Raises the errors of prepare_plan.
    """
    dynamic, *static = sorted(profiles, key=lambda profile: profile.is_static)
    plan, rung = prepare_plan(trt, device, cache, rungs, dynamic, progress=progress, report=report)
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
                reference_run=lambda image: runner.run(image)[0],
                progress=progress,
                report=report,
            )
            for profile in static
        ]
    return prepared


def find_built(
    cache: PlanCache, device: DeviceFacts, rungs: Sequence[PrecisionCandidate]
) -> list[tuple[CachedPlan, PrecisionCandidate]]:
    """Find the plans that were built together last for this device, of any size.

    They belong to the first candidate that has plans. The result is empty if a candidate before it
    was neither built nor refused, since that one is better and may pass.
    """
    wanted = _comparable(asdict(device))
    for rung in rungs:
        found = _find_built_together(cache, wanted, rung)
        # one of them must accept several sizes
        if any(not profile_of(plan).is_static for plan, _ in found):
            return found
        refusals = (refusal.facts for refusal in cache.refusals())
        if not any(_is_of(facts, rung, wanted) for facts in refusals):
            return []
    return []


def _find_built_together(
    cache: PlanCache, device: dict[str, Any], rung: PrecisionCandidate
) -> list[tuple[CachedPlan, PrecisionCandidate]]:
    chosen: BuildOptions | None = None
    found: list[tuple[CachedPlan, PrecisionCandidate]] = []
    for key, facts in cache.newest_first():
        if not _is_of(facts, rung, device):
            continue
        options = _read_options(facts)
        if options is None or chosen not in (None, options):
            continue
        plan = cache.load(key)
        if plan is not None:
            chosen = options
            found.append((plan, PrecisionCandidate(options, rung.artifact)))
    return found


def _is_of(facts: dict[str, Any], rung: PrecisionCandidate, device: dict[str, Any]) -> bool:
    """Whether (unverified) facts describe a plan of this artifact, precision and device."""
    options, made_for = facts.get("options"), facts.get("device")
    return (
        facts.get("onnx") == rung.artifact.sha256
        and isinstance(options, dict)
        and options.get("precision") == rung.options.precision
        and isinstance(made_for, dict)
        and _comparable(made_for) == device
    )


def _read_options(facts: dict[str, Any]) -> BuildOptions | None:
    """Read build options, or return None if another version of restora wrote them."""
    try:
        return BuildOptions(**facts["options"])
    except (TypeError, OptionError):
        return None


def _comparable(device: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in device.items() if name != "driver"}


def profile_of(plan: CachedPlan) -> Profile:
    """The sizes that a plan accepts; a build may have reduced the requested ones."""
    shapes = {name: tuple(shape) for name, shape in plan.facts["profile"].items()}
    return Profile(shapes["smallest"], shapes["best"], shapes["largest"])
