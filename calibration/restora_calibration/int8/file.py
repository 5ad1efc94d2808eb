"""From the file of an FP32 artifact to that of an INT8 one, with a report and a plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from restora.artifact import Artifact, read_artifact
from restora.atomic import write_atomically
from restora.errors import AccuracyGateError, OptionError
from restora.files import make_folder
from restora_calibration.calibration_set import (
    CalibrationSet,
    SetPlan,
    bundled_sources,
    describe_set,
    make_calibration_set,
    read_sources,
)
from restora_calibration.degrade import FACES, MILD
from restora_calibration.int8.plot import plot_calibration
from restora_calibration.int8.run import Calibration, Plan, calibrate, describe, log_key
from restora_calibration.int8.speed import median_seconds
from restora_calibration.int8.trial import TrialLog

Report = Callable[[str], None]
_RANGES = {"mild": MILD, "faces": FACES, "none": None}


@dataclass(frozen=True, slots=True)
class TileOptions:
    """The tiles that an artifact is calibrated and measured on.

    data: folder of photos; None: free photos that scikit-image ships
    degrade: "mild", "faces" or "none", how photos are degraded first
    side: of tiles in pixels, unless the network takes one size only
    calibration, validation: number of tiles that ranges are found on, and of others that PSNR is
        measured on
    seed: of all random choices
    """

    data: Path | None = None
    degrade: Literal["mild", "faces", "none"] = "mild"
    side: int = 96
    calibration: int = 40
    validation: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        if self.degrade not in _RANGES:
            raise OptionError(f"degrade must be mild, faces or none, got {self.degrade!r}")


@dataclass(frozen=True, slots=True)
class CalibratedFile:
    """The INT8 artifact, and the report and the plot next to it."""

    path: Path
    result: Calibration = field(repr=False)

    def describe(self) -> list[str]:
        """Lines for a person: accuracy, then speed where it was measured."""
        lines = [f"{self.path}: {describe_best(self.result)}"]
        speedups = self.result.speedups()
        lines += [
            f"{times:.2f} times as fast as FP32 on ONNX Runtime: {runtime}"
            for runtime, times in speedups.items()
        ]
        if speedups and max(speedups.values()) <= 1:
            lines.append("INT8 is not faster than FP32 on this machine")
        return lines


def calibrate_file(
    model: Path,
    output: Path | None,
    plan: Plan,
    tiles: TileOptions,
    *,
    timed: bool = True,
    overwrite: bool = False,
    report: Report,
) -> CalibratedFile:
    """Calibrate an artifact file, and write the INT8 artifact, a report (.json) and a plot (.svg).

    output: default: MODEL.int8.onnx next to the model
    timed: measure the speed of what meets the threshold; else the most INT8 counts as fastest
    overwrite: replace the output

    An interrupted call continues where it stopped. Raises OptionError if the output exists,
    OutputError if it cannot be written, and AccuracyGateError if nothing meets the threshold; the
    report is written then too.
    """
    artifact = read_artifact(model)
    target = output or model.with_suffix(".int8.onnx")
    if target.exists() and not overwrite:
        raise OptionError(f"{target} exists already: give --overwrite to replace it")
    chosen = choose_tiles(artifact, tiles, report=report)
    report(describe_set(chosen))
    make_folder(target.parent)  # before minutes of work
    log = TrialLog(target.with_suffix(".trials.jsonl"), log_key(artifact, chosen))
    if log.found:
        report(f"going on: {len(log.found)} trials are in {log.path}")
    speed = median_seconds if timed else None
    result = calibrate(artifact, chosen, plan, log=log, speed=speed, report=report)
    facts = describe(result, chosen, plan)
    write_atomically(target.with_suffix(".json"), (json.dumps(facts, indent=1) + "\n").encode())
    plot_calibration(facts, target.with_suffix(".svg"))
    if result.artifact is not None:
        write_atomically(target, result.artifact.onnx)
    log.remove()
    if result.artifact is None:
        raise AccuracyGateError(
            f"no layer assignment of {artifact.info.model} reaches {plan.min_psnr:g} dB, nothing "
            f"is written; the closest: {describe_best(result)}; see {target.with_suffix('.json')}"
        )
    return CalibratedFile(target, result)


def choose_tiles(artifact: Artifact, tiles: TileOptions, *, report: Report) -> CalibrationSet:
    """Raises OptionError if the photos give too few tiles."""
    sources = bundled_sources() if tiles.data is None else read_sources(tiles.data, report=report)
    fixed = artifact.info.side
    plan = SetPlan(
        fixed or tiles.side,
        tiles.calibration,
        tiles.validation,
        _RANGES[tiles.degrade],
        keep_size=fixed is not None,
        seed=tiles.seed,
    )
    return make_calibration_set(sources, plan, report=report)


def describe_best(result: Calibration) -> str:
    """The layer assignment that was chosen, or the closest one, in a sentence."""
    best = result.best
    return (
        f"{len(best.recipe.layers)} layers in INT8 ({best.macs:.0%} of the products), "
        f"{len(result.kept)} in FP32: PSNR {best.distance.mean:.2f} dB mean, "
        f"{best.distance.least:.2f} min"
    )
