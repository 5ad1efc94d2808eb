"""Tiles: every way on batches of tiles, taking turns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from restora.artifact import measure_psnr
from restora.backends.base import Batch
from restora.backends.shell import NetworkSession
from restora.errors import RestoraError
from restora_benchmarks.bench.models import Model
from restora_benchmarks.bench.probe import probe
from restora_benchmarks.bench.ways import Runner, Way, WayNotHereError, find_way, key_of
from restora_benchmarks.flops import count_flops
from restora_benchmarks.pictures import cut_tiles
from restora_calibration.timing import time_in_turns

logger = logging.getLogger(__name__)
Row = dict[str, Any]
TURNS = 6  # each turn runs other tiles
EXACT = "eager PyTorch/fp32"
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
            turns = [cut_tiles(TURNS * batch, side)[turn::TURNS] for turn in range(TURNS)]
            runs = {way: _Turns(runner, turns) for way, runner in runners.items()}
            named: dict[str, Callable[[], object]] = {key_of(way): r for way, r in runs.items()}
            times = time_in_turns(named, repeats=grid.repeats)
            exact = _exact_results(model, runs, grid.threads)
            for way in runners:
                found = times[key_of(way)]
                gflops = flops * batch / found.median / 1e9
                # none is measured for 8 bits
                ceiling = ceilings.get(_CEILINGS.get(way.precision, "fp32"))
                mean, least = _accuracy(runs[way].results, exact)
                row: Row = {
                    "suite": "tiles",
                    "model": model.name,
                    "weights": model.weights,
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
                    **_chosen(runners[way]),
                    **probes.get(way, {}),
                }
                if model.is_face:
                    row["faces_per_s"] = round(batch / found.median, 3)
                rows.append(row)
            report(f"{model.name}, tiles of {side}, batch {batch}: {len(runners)} ways")
    for runner in runners.values():
        runner.close()
    return rows


class _Turns:
    """Runs the next batch at each call, and keeps the result of each."""

    def __init__(self, runner: Runner, batches: Sequence[Batch]) -> None:
        self.runner, self.batches = runner, batches
        self.results: dict[int, Batch] = {}
        self._turn = 0

    def __call__(self) -> None:
        turn = self._turn % len(self.batches)
        self.results[turn] = self.runner.run(self.batches[turn])
        self._turn += 1


def _exact_results(model: Model, runs: Mapping[Way, _Turns], threads: int) -> dict[int, Batch]:
    """The results of eager PyTorch in FP32, or of the first way where there is no such network."""
    for way, turns in runs.items():
        if key_of(way) == EXACT:
            return turns.results
    first = next(iter(runs.values()))
    try:
        runner = find_way(EXACT).open(model, threads)
    except WayNotHereError:
        return first.results
    results = {turn: runner.run(first.batches[turn]) for turn in first.results}
    runner.close()
    return results


def _accuracy(results: Mapping[int, Batch], exact: Mapping[int, Batch]) -> tuple[float, float]:
    """Mean and least PSNR in dB over all tiles."""
    figures = [measure_psnr(results[turn], exact[turn]) for turn in results]
    return float(np.mean([mean for mean, _ in figures])), min(least for _, least in figures)


def _chosen(runner: Runner) -> Row:
    """What a session of restora runs on, for those that it chose by itself."""
    if isinstance(runner, NetworkSession):
        return {"runs_on": f"{runner.runtime}, {runner.precision}"}
    return {}


def _open(
    model: Model, ways: Sequence[Way], side: int, threads: int, report: Callable[[str], None]
) -> dict[Way, Runner]:
    """Those that run. Without a PyTorch network, accuracy is measured against the first one, which
    must be FP32."""
    runners: dict[Way, Runner] = {}
    for way in ways:
        try:
            runner = way.open(model, threads)
            runner.run(cut_tiles(1, side))
        except (RestoraError, RuntimeError) as error:
            report(f"{model.name}: skipped {key_of(way)}: {error}")
            continue
        runners[way] = runner
    return runners
