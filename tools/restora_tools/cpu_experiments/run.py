"""Measure settings of CPU runtimes with published weights: seconds, accuracy, time to load.

`python -m restora_tools.cpu_experiments.run` writes benchmarks/results/cpu-experiments.json. Each
variant runs in a process of its own; those of one experiment take turns. With `--experiments`, the
rows of the others are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
from rich.console import Console

from restora.artifact import measure_psnr
from restora_benchmarks.bench.models import find_model
from restora_benchmarks.bench.ways import find_way
from restora_benchmarks.pictures import cut_tiles
from restora_tools.cpu_experiments.variants import EXPERIMENTS, Variant
from restora_tools.cpu_experiments.worker import TILES
from restora_tools.results import write_results

RESULTS = Path("benchmarks/results/cpu-experiments.json")
SIDES = {"realesr-animevideov3": 256, "RealESRGAN_x4plus_anime_6B": 128}
PAUSE_S = 0.1
Row = dict[str, Any]


class Worker:
    """A process that has loaded a variant, and ran it once."""

    def __init__(
        self, experiment: str, variant: Variant, model: str, side: int, result: Path
    ) -> None:
        self.result, self._name = result, variant.name
        words = [experiment, variant.name, model, str(side), str(self.result)]
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "restora_tools.cpu_experiments.worker", *words],
            env=os.environ | variant.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.load_s = self._read()
        self._read()

    def run(self) -> float:
        """Seconds for each tile."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write("\n")
        stdin.flush()
        return self._read() / TILES

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> float:
        stdout: IO[str] | None = self._process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the variant {self._name!r} does not run")
        return float(line)


def measure(experiment: str, model: str, repeats: int, folder: Path) -> list[Row]:
    """A row for each variant, in turns."""
    side = SIDES[model]
    exact = _exact(model, side)
    variants = EXPERIMENTS[experiment]
    workers = {
        variant.name: Worker(experiment, variant, model, side, folder / f"{number}.npy")
        for number, variant in enumerate(variants)
    }
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(repeats):
        for name, worker in workers.items():
            time.sleep(PAUSE_S)
            seconds[name].append(worker.run())
    for worker in workers.values():
        worker.close()
    base = statistics.median(seconds[variants[0].name])
    return [
        {
            "experiment": experiment,
            "variant": name,
            "model": model,
            "side": side,
            "seconds": round(statistics.median(seconds[name]), 4),
            "repeats": repeats,
            "spread": round(max(seconds[name]) / min(seconds[name]), 2),
            "share": round(statistics.median(seconds[name]) / base, 3),
            "load_s": round(worker.load_s, 3),
            "psnr_mean": round(measure_psnr(np.load(worker.result), exact)[0], 1),
        }
        for name, worker in workers.items()
    ]


def _exact(model: str, side: int) -> Any:
    found = find_model(model, Path("build/bench"), lambda _words: None)
    runner = find_way("eager PyTorch/fp32").open(found, 2)
    result = runner.run(cut_tiles(TILES, side))
    runner.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--experiments", default=",".join(EXPERIMENTS))
    parser.add_argument("--models", default=",".join(SIDES))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    console = Console()
    known = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    rows = [row for row in known if row["experiment"] in EXPERIMENTS]
    with tempfile.TemporaryDirectory() as name:
        for experiment in arguments.experiments.split(","):
            for model in arguments.models.split(","):
                found = measure(experiment, model, arguments.repeats, Path(name))
                rows = merge(rows, found)
                write_results(arguments.json, threads=2, rows=rows)
                for row in found:
                    console.print(*(str(value) for value in row.values()), sep="  ")


def merge(known: list[Row], found: list[Row]) -> list[Row]:
    """Rows in the order of the experiments. Those that were found replace known ones of the same
    experiment and model."""
    again = {(row["experiment"], row["model"]) for row in found}
    kept = [row for row in known if (row["experiment"], row["model"]) not in again]
    names = list(EXPERIMENTS)
    return sorted([*kept, *found], key=lambda row: names.index(row["experiment"]))


if __name__ == "__main__":
    main()
