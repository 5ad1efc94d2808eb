"""Photos a second: the flow beside a plain loop and the published way, and its slowest stage."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from restora import Photo, Restorer, write_photo
from restora.backends.cores import count_allowed_cores
from restora.jobs.photo_flow import Stages
from restora.options import RestoreOptions
from restora_benchmarks.bench.models import find_model
from restora_benchmarks.bench.photos import PUBLISHED_PAD, PUBLISHED_TILE, Setting
from restora_benchmarks.published import upsample_published
from restora_calibration.photos import read_photo_of_size
from restora_calibration.timing import time_in_turns
from restora_tools.throughput.paced import Pace, open_paced
from restora_tools.throughput.ways import (
    PhotoFile,
    one_after_another,
    stages_alone,
    through_the_flow,
)

Row = dict[str, Any]
PUBLISHED = "published way, eager PyTorch"


def make_files(folder: Path, count: int, size: tuple[int, int], ending: str) -> list[PhotoFile]:
    """Photos of (width, height), each a little different."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(read_photo_of_size(*size), np.uint8)
    files = []
    for index in range(count):
        source = folder / f"{index:04}{ending}"
        write_photo(Photo(np.ascontiguousarray(np.roll(pixels, 8 * index, axis=1))), source)
        files.append(PhotoFile(source, folder / "restored" / source.name))
    (folder / "restored").mkdir(exist_ok=True)
    return files


def measure_networks(folder: Path, setting: Setting, *, photos: int, repeats: int) -> Row:
    """The bundled model on the CPU, where all stages share the cores."""
    files = make_files(folder / "photos", photos, (640, 480), ".jpg")
    options = RestoreOptions(backend=setting.backend, precision=setting.precision)
    with Restorer(options=options) as restorer:
        row = measure(restorer, files, repeats, {PUBLISHED: published_way(files)})
    return {"what": f"restora-lite-x2, {setting}", **row}


def measure_paced(folder: Path, what: str, pace: Pace, ending: str, *, repeats: int) -> Row:
    """A device that sleeps, where only the flow decides how busy it is."""
    files = make_files(folder / f"paced{ending}", 48, (400, 300), ending)
    restorer, session = open_paced(pace)
    with restorer:
        row = measure(restorer, files, repeats, {})
        session.calls = session.pictures = 0
        through_the_flow(restorer, files)
    tiles = round(session.pictures / session.calls, 2)
    return {"what": what, **row, "tiles_per_call": tiles, "batch": pace.batch}


def measure(
    restorer: Restorer,
    files: list[PhotoFile],
    repeats: int,
    more: Mapping[str, Callable[[], object]],
) -> Row:
    """Photos a second of each way and of each stage alone; in turns, medians."""
    found: list[tuple[Stages, float]] = []
    cores: list[float] = []

    def flow() -> None:
        started, cpu_s = time.perf_counter(), time.process_time()
        stages = through_the_flow(restorer, files)
        elapsed_s = time.perf_counter() - started
        found.append((stages, elapsed_s))
        cores.append((time.process_time() - cpu_s) / elapsed_s / count_allowed_cores())

    alone = stages_alone(restorer, files)
    ways: dict[str, Callable[[], object]] = {
        "flow": flow,
        "one after another": lambda: one_after_another(restorer, files),
        **more,
        **{f"{name} alone": run for name, run in alone.items()},
    }
    times = time_in_turns(ways, repeats=repeats)
    speed = {name: len(files) / value.median for name, value in times.items()}
    slowest = min(alone, key=lambda name: speed[f"{name} alone"])
    busy = {
        name: statistics.median(getattr(stages, name).use.busy_s / took for stages, took in found)
        for name in alone
    }
    return {
        "photos": len(files),
        "repeats": repeats,
        "photos_per_s": {name: round(value, 3) for name, value in speed.items()},
        "spread": {name: round(value.spread, 3) for name, value in times.items()},
        "slowest": slowest,
        "of_slowest": round(speed["flow"] / speed[f"{slowest} alone"], 3),
        "cores_busy": round(statistics.median(cores), 3),
        "busy": {name: round(value, 3) for name, value in busy.items()},
    }


def published_way(files: list[PhotoFile]) -> Callable[[], None]:
    """cv2.imread, eager PyTorch tile by tile, cv2.imwrite, one photo after another."""
    model = find_model("restora-lite-x2", Path("build/bench"), lambda _words: None)
    network = model.make_network()
    torch.set_num_threads(count_allowed_cores())

    def restore() -> None:
        for file in files:
            pixels = cv2.imread(str(file.source))
            assert pixels is not None
            result = upsample_published(
                network,
                np.asarray(pixels[..., ::-1], np.uint8),
                scale=model.artifact.info.scale,
                tile=PUBLISHED_TILE,
                tile_pad=PUBLISHED_PAD,
            )
            cv2.imwrite(str(file.target), result[..., ::-1])

    return restore
