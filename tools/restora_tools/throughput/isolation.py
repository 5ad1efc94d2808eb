"""Measure what it costs to decode photos in child processes:
`python -m restora_tools.throughput.isolation`.

The pipeline as it is takes turns with the pipeline that decodes in its own process.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from restora import Restorer
from restora.image import probe_file, read_photo
from restora.options import RestoreOptions
from restora_benchmarks.bench.photos import Setting
from restora_calibration.timing import time_in_turns
from restora_tools.results import write_results
from restora_tools.throughput.paced import Pace, open_paced
from restora_tools.throughput.photos import make_files
from restora_tools.throughput.ways import PhotoFile, through_the_flow

Row = dict[str, Any]
RESULTS = Path("benchmarks/results/isolation.json")
FAST = Setting("openvino", "bf16")


def measure_isolation(
    folder: Path, setting: Setting, *, photos: int, repeats: int
) -> Iterator[Row]:
    """Small photos through the bundled model on the CPU, and larger ones before a device that
    sleeps, where decoding is a larger part of the work."""
    files = make_files(folder / "isolation", photos, (640, 480), ".jpg")
    options = RestoreOptions(backend=setting.backend, precision=setting.precision)
    with Restorer(options=options) as restorer:
        yield _measure(f"restora-lite-x2, {setting}, 640 x 480", restorer, files, repeats)
    for size, ending in (((400, 300), ".jpg"), ((2000, 1500), ".jpg")):
        name = f"{size[0]} x {size[1]}"
        files = make_files(folder / f"isolation-{name}", photos, size, ending)
        restorer, _ = open_paced(Pace())
        with restorer:
            yield _measure(f"a device that sleeps, {name}", restorer, files, repeats)


def _measure(what: str, restorer: Restorer, files: list[PhotoFile], repeats: int) -> Row:
    def in_process() -> None:
        with decoding_in_process():
            through_the_flow(restorer, files)

    ways = {"isolated": lambda: through_the_flow(restorer, files), "in process": in_process}
    times = time_in_turns(ways, repeats=repeats)
    speed = {name: round(len(files) / value.median, 3) for name, value in times.items()}
    return {
        "what": what,
        "photos": len(files),
        "photos_per_s": speed,
        "spread": {name: round(value.spread, 3) for name, value in times.items()},
        "ratio": round(speed["isolated"] / speed["in process"], 3),
    }


@contextmanager
def decoding_in_process() -> Iterator[None]:
    """As if flows trusted their files."""
    with (
        mock.patch("restora.jobs.photo_flow.read_isolated", read_photo),
        mock.patch("restora.jobs.memory.probe_isolated", probe_file),
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = []
        for row in measure_isolation(
            Path(name), FAST, photos=arguments.photos, repeats=arguments.repeats
        ):
            print(row)
            rows.append(row)
    write_results(arguments.json, rows=rows)


if __name__ == "__main__":
    main()
