"""Tiles: every way on batches of tiles, taking turns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from restora.artifact import measure_psnr
from restora.errors import RestoraError
from restora_benchmarks.bench.models import Model
from restora_benchmarks.bench.probe import probe
from restora_benchmarks.bench.ways import Runner, Way, key_of
from restora_benchmarks.flops import count_flops
from restora_benchmarks.pictures import make_pictures
from restora_calibration.timing import time_in_turns

logger = logging.getLogger(__name__)
Row = dict[str, Any]
_CEILINGS = {"bf16": "bf16", "int8": "int8"}


@dataclass(frozen=True, slots=True)
class Grid:
    """What is run. sides: of tiles in pixels (a face network has its own)."""

    sides: tuple[int, ...]
    batches: tuple[int, ...]
    threads: int
    repeats: int
    probes: bool = True


def measure_tiles(
    model: Model,
    ways: Sequence[Way],
    grid: Grid,
    ceilings: dict[str, float],
    folder: Path,
    report: Callable[[str], None],
) -> list[Row]:
    """A row for each way, side and batch; a way that cannot be run is reported and left out."""
    side_fixed = model.artifact.info.side
    sides = (side_fixed,) if side_fixed else grid.sides
    runners = _open(model, ways, sides[0], grid.threads, report)
    probes = {}
    if grid.probes:
        for way in runners:
            probes[way] = probe(
                model.name if model.network else str(model.path),
                key_of(way),
                side=sides[0],
                batch=1,
                threads=grid.threads,
                folder=folder,
            )
    rows: list[Row] = []
    for side in sides:
        flops = count_flops(model.artifact.onnx, batch=1, height=side, width=side)
        for batch in grid.batches:
            pictures = make_pictures((batch, side, side, 3))
            results = {way: runner.run(pictures) for way, runner in runners.items()}
            exact = results[next(iter(results))]
            runs = {key_of(way): partial(r.run, pictures) for way, r in runners.items()}
            times = time_in_turns(runs, repeats=grid.repeats)
            for way in runners:
                found = times[key_of(way)]
                gflops = flops * batch / found.median / 1e9
                # none is measured for 8 bits
                ceiling = ceilings.get(_CEILINGS.get(way.precision, "fp32"))
                mean, least = measure_psnr(results[way], exact)
                row: Row = {
                    "suite": "tiles",
                    "model": model.name,
                    "way": way.name,
                    "precision": way.precision,
                    "ours": way.ours,
                    "side": side,
                    "batch": batch,
                    "threads": grid.threads,
                    "seconds": found.as_dict(),
                    "mp_per_s": round(batch * side**2 / 1e6 / found.median, 4),
                    "gflops": round(gflops, 1),
                    "of_ceiling": round(gflops / ceiling, 3) if ceiling else None,
                    "psnr_mean": round(mean, 1),
                    "psnr_min": round(least, 1),
                    **probes.get(way, {}),
                }
                if model.is_face:
                    row["faces_per_s"] = round(batch / found.median, 3)
                rows.append(row)
            report(f"{model.name}, tiles of {side}, batch {batch}: {len(runners)} ways")
    for runner in runners.values():
        runner.close()
    return rows


def _open(
    model: Model, ways: Sequence[Way], side: int, threads: int, report: Callable[[str], None]
) -> dict[Way, Runner]:
    """The first one must be FP32: the others' accuracy is measured against it."""
    runners: dict[Way, Runner] = {}
    for way in ways:
        try:
            runner = way.open(model, threads)
            runner.run(make_pictures((1, side, side, 3)))
        except (RestoraError, RuntimeError) as error:
            report(f"{model.name}: skipped {key_of(way)}: {error}")
            continue
        runners[way] = runner
    return runners
