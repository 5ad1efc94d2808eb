"""8 bits of the published networks with their weights: `python -m restora_tools.int8_published`.

Each network is calibrated with the free photos; what passes is compared with FP32 on the held-out
photos, and timed in turns with bf16 and FP32, all in one process. What does not pass is recorded
with the closest assignment. The checkpoints must be in the model folder: `restora models fetch
NAME`. About an hour on two cores; with presets, a third of that, and ten minutes to fine-tune.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from restora.artifact import Artifact, measure_psnr, read_artifact
from restora.backends import CpuOptions
from restora.backends.base import Session
from restora.backends.openvino_cpu import OpenVinoSession, open_int8
from restora.errors import AccuracyGateError
from restora.models.resolve import find_or_export
from restora_calibration.calibration_set import (
    CalibrationSet,
    SetPlan,
    make_calibration_set,
    make_source,
)
from restora_calibration.degrade import MILD
from restora_calibration.int8.file import TileOptions, calibrate_file
from restora_calibration.int8.plan import Plan
from restora_calibration.photos import HELD_OUT, read_free_photo
from restora_calibration.timing import time_in_turns
from restora_tools.results import write_results

RESULTS = Path("benchmarks/results/int8-published.json")
FOLDER = Path("build/int8-published")
TURNS = 15
WANTED = 1.3  # times as fast as bf16, or INT8 is not worth its error
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Network:
    """A published network.

    side: that of its calibration tiles
    timed_side: that of the tile to time
    fine_tune: steps
    """

    name: str
    side: int
    timed_side: int
    fine_tune: int = 0


NETWORKS = (
    Network("realesr-animevideov3", 96, 256),
    Network("RealESRGAN_x4plus_anime_6B", 64, 128),
    Network("RealESRGAN_x4plus", 64, 128, fine_tune=350),
)


def measure_network(
    network: Network, folder: Path, *, search: bool, report: Callable[[str], None]
) -> Row:
    """Calibrate a network unless its artifact is in the folder, then measure it.

    search: search the layers again, also where a preset has them
    """
    model = find_or_export(network.name, "uint8", "upsampler")
    target = folder / f"{network.name}.int8.onnx"
    if not target.exists():
        try:
            calibrate_file(
                model,
                target,
                Plan(fine_tune=network.fine_tune),
                TileOptions(side=network.side),
                timed=False,
                search=search,
                report=report,
            )
        except AccuracyGateError as error:
            report(str(error))
    calibrated = json.loads(target.with_suffix(".json").read_text())
    row: Row = {
        "model": network.name,
        "passed": calibrated["passed"],
        "judged": calibrated["judged"],
        "best": calibrated["best"],
        "kept": calibrated["kept"],
        "whole_network_in_8_bits": calibrated["whole_network_in_8_bits"],
        "fine_tuning": calibrated.get("fine_tuning"),
        "curve": calibrated["curve"],
        "opens_on": calibrated["opens_on"],
    }
    if calibrated["passed"]:
        row |= _measure_file(read_artifact(model), read_artifact(target), network)
    return row


def held_out_tiles(side: int) -> CalibrationSet:
    """32 tiles of the held-out photos, degraded and downsampled, of all kinds."""
    sources = [make_source(photo.name, read_free_photo(photo)) for photo in HELD_OUT]
    plan = SetPlan(tile=side, calibrating=12, searching=10, judging=10, ranges=MILD)
    return make_calibration_set(sources, plan, report=lambda _words: None)


def _measure_file(exact: Artifact, quantized: Artifact, network: Network) -> Row:
    options = CpuOptions()
    sessions: dict[str, Session] = {
        "fp32": OpenVinoSession(exact, options),
        # the rival is timed also where its own self-check refuses it
        "bf16": OpenVinoSession(exact, options, arithmetic="bf16"),
        "int8": open_int8(quantized, options),
    }
    side = network.timed_side
    tile = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    load = os.getloadavg()[0]
    ways = {name: partial(session.run, tile) for name, session in sessions.items()}
    times = time_in_turns(ways, repeats=TURNS)
    chosen = held_out_tiles(network.side)
    every = (*chosen.calibrating, *chosen.searching, *chosen.judging)
    answers = np.concatenate([sessions["fp32"].run(tile[None]) for tile in every])
    row: Row = {
        "timed_side": side,
        "load_before": round(load, 2),
        "turns": TURNS,
        "seconds": {name: found.as_dict() for name, found in times.items()},
        "times_bf16": round(times["bf16"].median / times["int8"].median, 2),
        "fast_enough": times["bf16"].median >= WANTED * times["int8"].median,
        "held_out_tiles": len(every),
        "tile": network.side,
        "size_mb": {
            "fp32": round(len(exact.onnx) / 1e6, 2),
            "int8": round(len(quantized.onnx) / 1e6, 2),
        },
    }
    for name in ("bf16", "int8"):
        got = np.concatenate([sessions[name].run(tile[None]) for tile in every])
        mean, least = measure_psnr(got, answers)
        row[f"held_out_{name}"] = {"mean": round(mean, 2), "least": round(least, 2)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--only", help="name of one network; the rows of the others are kept")
    parser.add_argument("--search", action="store_true", help="do not use the presets")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    known = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    rows = {row["model"]: row for row in known}
    for network in NETWORKS:
        if arguments.only in (None, network.name):
            rows[network.name] = measure_network(
                network, arguments.folder, search=arguments.search, report=console.print
            )
            ordered = [rows[each.name] for each in NETWORKS if each.name in rows]
            write_results(arguments.json, rows=ordered)
    console.print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
