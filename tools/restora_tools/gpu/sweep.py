"""Stage `sweep`: plans of other tiles and batches, and what each would need for whole photos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from restora.backends.tensorrt.open import load_plans
from restora.backends.tensorrt.profiles import Profile
from restora.tiling import Tiling
from restora_benchmarks.flops import count_flops
from restora_tools.gpu.build import build_next, describe_profile
from restora_tools.gpu.device_time import time_batches
from restora_tools.gpu.effort import FULL, Effort
from restora_tools.gpu.job import Job
from restora_tools.gpu.nvml import watch_gpu
from restora_tools.gpu.places import Row
from restora_tools.gpu.sessions import Plans
from restora_tools.gpu.speed import figures_of
from restora_tools.gpu.states import StateName
from restora_tools.gpu.subjects import PHOTO_SIZES

_KEY = ("model", "precision", "batch", "side")


def sweep(job: Job, *, budget_s: float, effort: Effort = FULL) -> StateName:
    """Build and measure the next tile and batch: "left" if there are more, "done" at the end.

    A plan that cannot be built is a row that says why; the next one is tried.
    """
    plans, subject, places = Plans(job), job.subject, job.places
    hot = (subject.batch, subject.side, subject.side, 3)
    profiles = [Profile(hot, hot, hot), *plans.sweep_profiles()]
    known = {(row["batch"], row["side"]) for row in places.rows("sweep") if job.is_about(row)}
    left = [profile for profile in profiles if profile.best[:2] not in known]
    if not left:
        return "done"
    row = _measure_one(job, plans, left[0], budget_s, effort)
    places.add_rows("sweep", [row], key=_KEY)
    words = (
        row.get("not_measured") or f"{row['device_ms']:.2f} ms, {row['input_mp_per_s']:.1f} MP/s"
    )
    job.report(f"{describe_profile(left[0])}: {words}")
    return "left" if left[1:] else "done"


def _measure_one(
    job: Job,
    plans: Plans,
    profile: Profile,
    budget_s: float,
    effort: Effort,
) -> Row:
    batch, side = profile.best[:2]
    row = job.row(batch=batch, side=side)
    most = plans.profiles()[0].largest[1]
    if side > most:
        return {**row, "not_measured": f"the plan that checks it takes tiles of at most {most}"}
    said: list[str] = []
    quiet = replace(job, report=said.append)
    state = build_next(quiet, plans, [profile], budget_s=budget_s)
    if state != "done":
        return {**row, "not_measured": said[-1]}
    modules = job.modules
    built = plans.get([profile])
    with watch_gpu(plans.device.pci_bus_id) as watch:
        time = time_batches(
            modules, lambda: load_plans(modules.trt, plans.device, built), profile.best, effort
        )
    flops = count_flops(plans.master.onnx, batch=1, height=side, width=side)
    return {
        **row,
        **figures_of(time, profile.best, flops * batch),
        "photos": {
            f"{width}x{height}": predict_photo(plans, (width, height), batch, side, time.ms)
            for width, height in plans.subject.photos or PHOTO_SIZES
        },
        "gpu_state": watch.summary(),
    }


def predict_photo(
    plans: Plans, size: tuple[int, int], batch: int, side: int, ms: float
) -> Mapping[str, float]:
    """Computed / photo area, and the device's time in ms, with tiles of this size alone."""
    width, height = size
    multiple = plans.info.size_multiple
    tiling = Tiling(size=side, overlap=plans.info.overlap_px, fixed=True)
    rows, columns = tiling.split(height + -height % multiple, width + -width % multiple, multiple)
    tiles = len(rows) * len(columns)
    return {
        "computed_share": round(tiles * side**2 / (width * height), 4),
        "ms": round(math.ceil(tiles / batch) * ms, 3),
    }
