"""From the file of an FP32 artifact to those in 8 bits, with a report and a plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from restora.artifact import Artifact, read_artifact, read_precision_variants
from restora.atomic import write_atomically
from restora.backends.options import Backend
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
from restora_calibration.int8.opening import find_sessions
from restora_calibration.int8.plan import LEAST_GATE, Plan
from restora_calibration.int8.plot import plot_calibration
from restora_calibration.int8.presets import find_preset
from restora_calibration.int8.report import describe
from restora_calibration.int8.run import Calibration, calibrate, log_key
from restora_calibration.int8.speed import median_seconds
from restora_calibration.int8.trial import TrialLog

Report = Callable[[str], None]
_RUNTIMES: dict[Backend, str] = {"cpu": "ONNX Runtime", "openvino": "OpenVINO"}
_RANGES = {"mild": MILD, "faces": FACES, "none": None}


@dataclass(frozen=True, slots=True)
class TileOptions:
    """The tiles that an artifact is calibrated and measured on.

    data: folder of photos; None: free photos that scikit-image ships
    degrade: "mild", "faces" or "none", how photos are degraded first
    side: of tiles in pixels, unless the network takes one size only
    calibration, search: number of tiles that ranges are found on, and of others that layer
        assignments are compared on
    validation: number of tiles of other photos that the result is accepted or refused on
    seed: of all random choices
    """

    data: Path | None = None
    degrade: Literal["mild", "faces", "none"] = "mild"
    side: int = 96
    calibration: int = 40
    validation: int = 24
    seed: int = 0
    search: int = 24

    def __post_init__(self) -> None:
        if self.degrade not in _RANGES:
            raise OptionError(f"degrade must be mild, faces or none, got {self.degrade!r}")


@dataclass(frozen=True, slots=True)
class CalibratedFile:
    """The artifact in 8 bits, and the report and the plot next to it.

    half_path: the artifact in INT8 with FP16 around it, which TensorRT 10 and 11 use
    opens: the backends of this machine in which the artifact opens and passes its self-check
    """

    path: Path
    half_path: Path | None
    opens: tuple[Backend, ...]
    result: Calibration = field(repr=False)

    def describe(self) -> list[str]:
        """Lines for a person: accuracy, then the backends that run it, with their speeds."""
        lines = [f"{self.path}: {describe_best(self.result)}"]
        lines.append(f"it passes its self-check on {', '.join(self.opens)}")
        if self.half_path is not None:
            lines.append(f"{self.half_path}: the same layers, with FP16 around them")
        runs = tuple(_RUNTIMES[backend] for backend in self.opens if backend in _RUNTIMES)
        speedups = {
            runtime: times
            for runtime, times in self.result.speedups().items()
            if runtime.startswith(runs)
        }
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
    search: bool = False,
    overwrite: bool = False,
    report: Report,
) -> CalibratedFile:
    """Calibrate an artifact file, and write the artifact, a report (.json) and a plot (.svg).

    If the FP16 artifact MODEL.fp16.onnx is next to the model, INT8 with FP16 around it is written
    too, to OUTPUT.int8_fp16.onnx. FP8 always has FP16 around it.

    output: default: MODEL.int8.onnx or MODEL.fp8.onnx next to the model
    timed: measure the speed of INT8 that meets the threshold; else, and for FP8, which only GPUs
        compute, the most work in 8 bits counts as fastest
    search: search the layers that stay in FP32, also where a preset for this model has them
    overwrite: replace the output

    An interrupted call continues where it stopped. Raises OptionError if the output exists, the
    FP16 artifact that FP8 needs is missing, or the photos are too few or too uniform, OutputError
    if the output cannot be written, and AccuracyGateError if nothing meets the threshold or
    opens in a session of this machine; the report is written then too.
    """
    artifact = read_artifact(model)
    if plan.format == "int8" and plan.only is None and not search:
        preset = find_preset(artifact.info.model, tuned=plan.fine_tune > 0)
        plan = replace(plan, preset=preset)
    half = _find_half(artifact, model)
    target = output or model.with_suffix(f".{plan.format}.onnx")
    half_target = target.with_name(
        target.name.removesuffix(".onnx").removesuffix(".int8") + ".int8_fp16.onnx"
    )
    for path in (target, half_target) if plan.format == "int8" and half else (target,):
        if path.exists() and not overwrite:
            raise OptionError(f"{path} exists already: give --overwrite to replace it")
    if half is None and plan.format == "int8":
        report(
            f"there is no FP16 artifact of {artifact.info.model}, so none for TensorRT 10 and 11 "
            "with FP16 around INT8 is written (`restora export --precision fp16`)"
        )
    chosen = choose_tiles(artifact, tiles, report=report)
    report(describe_set(chosen))
    make_folder(target.parent)  # before minutes of work
    log = TrialLog(target.with_suffix(".trials.jsonl"), log_key(artifact, chosen))
    if log.found:
        report(f"going on: {len(log.found)} trials are in {log.path}")
    speed = median_seconds if timed and plan.format == "int8" else None
    result = calibrate(artifact, chosen, plan, half=half, log=log, speed=speed, report=report)
    facts = describe(result, chosen, plan)
    opens, refusal = _find_sessions(result, report)
    facts |= {"passed": bool(opens), "opens_on": list(opens)}
    write_atomically(target.with_suffix(".json"), (json.dumps(facts, indent=1) + "\n").encode())
    plot_calibration(facts, target.with_suffix(".svg"))
    log.remove()
    if refusal is not None:
        raise refusal
    if result.artifact is None:
        raise AccuracyGateError(
            f"no layer assignment of {artifact.info.model} reaches {plan.min_psnr:g} dB mean and "
            f"{LEAST_GATE:g} dB min, nothing is written; the closest: {describe_best(result)}; see "
            f"{target.with_suffix('.json')}"
        )
    write_atomically(target, result.artifact.onnx)
    if result.half is not None:
        write_atomically(half_target, result.half.onnx)
    return CalibratedFile(target, None if result.half is None else half_target, opens, result)


def _find_sessions(
    result: Calibration, report: Report
) -> tuple[tuple[Backend, ...], AccuracyGateError | None]:
    """The backends that run the artifact, and why none does."""
    if result.artifact is None:
        return (), None
    try:
        return find_sessions(result.artifact, report=report), None
    except AccuracyGateError as error:
        return (), error


def _find_half(artifact: Artifact, path: Path) -> Artifact | None:
    _, *found = read_precision_variants(artifact, path, ("fp16",))
    return found[0] if found else None


def choose_tiles(artifact: Artifact, tiles: TileOptions, *, report: Report) -> CalibrationSet:
    """Raises OptionError if the photos give too few tiles."""
    sources = bundled_sources() if tiles.data is None else read_sources(tiles.data, report=report)
    fixed = artifact.info.side
    plan = SetPlan(
        fixed or tiles.side,
        tiles.calibration,
        tiles.validation,
        tiles.search,
        _RANGES[tiles.degrade],
        keep_size=fixed is not None,
        seed=tiles.seed,
    )
    return make_calibration_set(sources, plan, report=report)


def describe_best(result: Calibration) -> str:
    """The layer assignment that was chosen, or the closest one, in a sentence."""
    best = result.best
    form = best.recipe.format.upper()
    shown = result.judged or best.distance
    where = "search" if result.judged is None else "unseen"
    return (
        f"{len(best.recipe.layers)} layers in {form} ({best.macs:.0%} of the products), "
        f"{len(result.kept)} in FP32: PSNR {shown.mean:.2f} dB mean, {shown.least:.2f} min on "
        f"{where} tiles"
    )
