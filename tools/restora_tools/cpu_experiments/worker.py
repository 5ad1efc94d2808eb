"""One variant in a process of its own, which runs once for each line on stdin.

`python -m restora_tools.cpu_experiments.worker EXPERIMENT VARIANT MODEL SIDE RESULT` writes the
pixels of the first run into the file RESULT, and seconds to stdout: of the start, of the first run,
of each further run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from restora_benchmarks.bench.models import find_model
from restora_benchmarks.pictures import cut_tiles
from restora_tools.cpu_experiments.variants import find_variant

TILES = 2
T = TypeVar("T")


def main() -> None:
    experiment, name, model_name, side, result = sys.argv[1:]
    model = find_model(model_name, Path("build/bench"), lambda _words: None)
    assert model.artifact
    tiles = cut_tiles(TILES, int(side))
    start = find_variant(experiment, name).start
    run = _timed(lambda: start(model))
    np.save(result, _timed(lambda: run(tiles)))
    for _line in sys.stdin:
        _timed(lambda: run(tiles))


def _timed(work: Callable[[], T]) -> T:
    started = time.perf_counter()
    value = work()
    print(time.perf_counter() - started, flush=True)
    return value


if __name__ == "__main__":
    main()
