"""Stage `build`: one plan a call, checked as it is built, within a budget of time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from restora.backends.tensorrt.prepare import prepare_plans
from restora.backends.tensorrt.profiles import Profile
from restora.errors import AccuracyGateError, BuildError, DeviceMemoryError
from restora_tools.gpu.job import Job
from restora_tools.gpu.places import Row
from restora_tools.gpu.sessions import Plans
from restora_tools.gpu.states import StateName

_KEY = ("model", "precision", "profile")


def build(job: Job, *, budget_s: float, retry: bool = False) -> StateName:
    """Build the next plan of a session: "left" if there are more, "done" after the last one.

    retry: build a plan again that was refused before

    A plan that is refused or cannot be built becomes a row that says so. Nothing else is built
    instead of it: what another precision can do is asked of that precision.
    """
    plans = Plans(job)
    return build_next(job, plans, plans.profiles(), budget_s=budget_s, retry=retry)


def build_next(
    job: Job, plans: Plans, profiles: Sequence[Profile], *, budget_s: float, retry: bool = False
) -> StateName:
    """Build the first of these plans that is not there yet. See build."""
    missing = [profile for profile in profiles if plans.find(profile) is None]
    if not missing:
        return "done"
    profile = missing[0]
    row = job.row(profile=describe_profile(profile))
    budget = _Budget(budget_s)
    try:
        facts = _build_one(job, plans, profile, budget, retry=retry)
    except (AccuracyGateError, BuildError, DeviceMemoryError) as error:
        if budget.passed:
            return _end(job, row, "over budget", f"over its budget of {budget_s:.0f} s")
        return _end(job, row, "failed", str(error))
    job.places.add_rows("build", [{**row, **facts}], key=_KEY)
    job.report(
        f"{row['profile']}: built in {facts['build_s']:.0f} s, PSNR {facts['psnr_mean']:.1f} dB"
    )
    return "left" if missing[1:] else "done"


def describe_profile(profile: Profile) -> str:
    """Such as "4x256x256", or "1x8x8 to 1x1024x1024"."""
    smallest, largest = (
        "x".join(map(str, shape[:3])) for shape in (profile.smallest, profile.largest)
    )
    return largest if profile.is_static else f"{smallest} to {largest}"


class _Budget:
    """Progress of a build that cancels it when its time is used up, where TensorRT allows that
    (>= 10); on 8.6 the process that runs the step ends it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.passed = False

    def __call__(self, phase: str, done: int, total: int) -> None:
        if time.monotonic() > self._end:
            self.passed = True
            raise TimeoutError(f"the budget is used up in {phase}, {done} of {total}")


def _build_one(job: Job, plans: Plans, profile: Profile, budget: _Budget, *, retry: bool) -> Row:
    # a plan for one shape is checked against the plan for all sizes, which comes from the cache
    wide = [other for other in plans.profiles() if not other.is_static and other != profile]
    prepare_plans(
        job.modules.trt,
        plans.device,
        plans.cache,
        [plans.candidate],
        [*wide[:1], profile],
        retry=retry,
        progress=budget,
        report=job.report,
    )
    made = plans.find(profile)
    if made is None:  # one that a session can do without
        raise BuildError(plans.refusal(profile) or "it was left out: see the log")
    return {
        "made_in": plans.candidate.options.precision,
        "build_s": made.facts["build_s"],
        "plan_mb": round(len(made.plan) / 1e6, 1),
        "attempts": made.facts["attempts"],
        "workspace_mib": made.facts["options"]["workspace_bytes"] >> 20,
        **made.facts["selfcheck"],
    }


def _end(job: Job, row: Row, state: StateName, reason: str) -> StateName:
    job.places.add_rows("build", [{**row, "error": reason}], key=_KEY)
    job.report(f"{row['profile']}: {state}: {reason}")
    return state
