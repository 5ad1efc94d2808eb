"""Stage `build`: plans of every subject, checked as they are built, within a budget of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from restora.artifact import Precision
from restora.backends.tensorrt.build import BuildOptions
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plans
from restora.backends.tensorrt.profiles import plan_profiles
from restora.errors import RestoraError
from restora_tools.gpu.machine import Modules
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.subjects import Subject


def build(
    modules: Modules,
    places: Places,
    subjects: Sequence[Subject],
    precisions: Sequence[Precision],
    *,
    budget_s: float,
    report: Callable[[str], None],
) -> bool:
    """Build what is not in the cache; True if nothing was left for another run.

    A plan that is refused or cannot be built becomes a row that says so, and the next one is
    tried. No build is begun after `budget_s`.
    """
    started = time.perf_counter()
    cache = PlanCache(places.plans)
    for subject in subjects:
        for precision in places.offered(subject, precisions):
            if time.perf_counter() - started > budget_s:
                report("the time budget is used up: run the stage again to continue")
                return False
            rows = _build_one(modules, places, subject, precision, cache, report)
            places.add_rows("build", rows, key=("model", "asked"))
    return True


def _build_one(
    modules: Modules,
    places: Places,
    subject: Subject,
    precision: Precision,
    cache: PlanCache,
    report: Callable[[str], None],
) -> list[Row]:
    device = modules.open_device()
    wanted = subject.plans
    try:
        family = places.family(subject)
        options = BuildOptions(precision=precision)
        rungs = plan_candidates(modules.trt, options, family)
        profiles = plan_profiles(
            family[0].info, tile=wanted.tile, batches=wanted.batches, max_tile=wanted.max_tile
        )
        prepared = prepare_plans(modules.trt, device, cache, rungs, profiles, report=report)
    except RestoraError as error:
        report(f"{subject.name}, {precision}: {error}")
        return [{"model": subject.name, "asked": precision, "error": str(error)}]
    finally:
        device.close()
    return [
        {
            "model": subject.name,
            "asked": precision,
            "precision": rung.options.precision,
            "profile": plan.facts["profile"],
            "build_s": plan.facts["build_s"],
            "plan_mb": round(len(plan.plan) / 1e6, 1),
            "attempts": plan.facts["attempts"],
            **plan.facts["selfcheck"],
        }
        for plan, rung in prepared
    ]
