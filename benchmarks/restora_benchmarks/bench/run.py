"""Run the suites that were asked for and put the result together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from restora.backends.cores import count_allowed_cores
from restora.errors import OptionError
from restora_benchmarks.bench.ceiling import measure_ceilings
from restora_benchmarks.bench.models import find_model
from restora_benchmarks.bench.photos import (
    PEERS,
    WAYS,
    Setting,
    can_run,
    measure_photo,
    measure_sizes,
    measure_stages,
)
from restora_benchmarks.bench.schema import VERSION
from restora_benchmarks.bench.tiles import Grid, measure_tiles
from restora_benchmarks.bench.ways import OURS, Way
from restora_benchmarks.bench.ways import PEERS as PEER_WAYS
from restora_benchmarks.machine import describe_machine

Row = dict[str, Any]
SUITES = ("tiles", "photo", "size", "stages")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured. Raises OptionError for values that cannot be.

    suites: some of SUITES
    ways: what the suite "tiles" measures; the first must be FP32
    settings: what the other suites measure
    sides, batches: of the tiles, in pixels and tiles per call
    megapixels: size of the input photo
    output_mps: sizes in megapixels of the results of the suite "size"
    threads: 0 means all allowed cores; the other suites run with the largest number only
    probes: whether to measure start-up and memory of each way
    photo_ways: what is measured on whole photos, some of photos.WAYS; peers once for each model
    folder: where exported models are kept
    """

    models: tuple[str, ...] = ("restora-lite-x2",)
    suites: tuple[str, ...] = SUITES
    ways: tuple[Way, ...] = (*OURS, *PEER_WAYS)
    settings: tuple[Setting, ...] = (Setting("auto", "fp32"), Setting("auto", "auto"))
    sides: tuple[int, ...] = (128, 256)
    batches: tuple[int, ...] = (1, 4)
    megapixels: float = 2.0
    output_mps: tuple[float, ...] = (0.25, 1, 4, 12, 24, 50)
    repeats: int = 5
    photo_repeats: int = 3
    threads: tuple[int, ...] = (0,)
    probes: bool = True
    photo_ways: tuple[str, ...] = WAYS
    folder: Path = field(default=Path("build/bench"))

    def __post_init__(self) -> None:
        for what, known in (("suites", SUITES), ("photo_ways", WAYS)):
            unknown = [name for name in getattr(self, what) if name not in known]
            if unknown:
                raise OptionError(f"{what} must be some of {', '.join(known)}, got {unknown[0]!r}")
        for name in ("sides", "batches", "output_mps", "repeats", "photo_repeats", "megapixels"):
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not numbers or not all(0 < number < float("inf") for number in numbers):
                raise OptionError(f"{name} must be numbers above 0, got {value}")
        if not self.threads or min(self.threads) < 0:
            raise OptionError(f"threads must be numbers of at least 0, got {self.threads}")


def run_plan(plan: Plan, report: Callable[[str], None]) -> dict[str, Any]:
    """The result, as schema.py describes it. Takes minutes; `report` says what is going on."""
    counts = sorted({count or count_allowed_cores() for count in plan.threads})
    threads = counts[-1]
    report("measuring what matrix products reach")
    ceilings = {count: measure_ceilings(count) for count in counts}
    rows: list[Row] = []
    for name in plan.models:
        model = find_model(name, plan.folder, report)
        if "tiles" in plan.suites:
            for count in counts:
                grid = Grid(
                    plan.sides, plan.batches, count, plan.repeats, plan.probes and count == threads
                )
                rows += measure_tiles(model, plan.ways, grid, ceilings[count], plan.folder, report)
        if model.is_face:
            continue
        for number, setting in enumerate(_usable(plan.settings, model, threads, report)):
            if "photo" in plan.suites:
                report(f"{name}: a photo of {plan.megapixels:g} MP, {setting}")
                rows += measure_photo(
                    model,
                    setting,
                    megapixels=plan.megapixels,
                    threads=threads,
                    repeats=plan.photo_repeats,
                    report=report,
                    ways=[way for way in plan.photo_ways if way not in PEERS or not number],
                )
            if "size" in plan.suites:
                report(f"{name}: results of {plan.output_mps} MP, {setting}")
                rows += measure_sizes(model, setting, plan.output_mps, threads=threads)
            if "stages" in plan.suites:
                megapixels = plan.megapixels
                rows += measure_stages(model, setting, megapixels=megapixels, threads=threads)
    return {
        "version": VERSION,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "threads": threads,
        "ceilings_gflops": ceilings[threads],
        "rows": rows,
    }


def _usable(
    settings: Sequence[Setting], model: Any, threads: int, report: Callable[[str], None]
) -> list[Setting]:
    usable = []
    for setting in settings:
        reason = can_run(model, setting, threads)
        if reason is None:
            usable.append(setting)
        else:
            report(f"{model.name}: skipped {setting}: {reason}")
    return usable
