"""`restora calibrate`: an FP32 artifact becomes an INT8 one, if it stays close enough."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from restora.artifact import read_artifact
from restora.atomic import write_atomically
from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.cli.files import make_folder
from restora.errors import AccuracyGateError, MissingBackendError, OptionError

Degrade = Literal["mild", "faces", "none"]


@reports_errors
def calibrate(
    model: Annotated[Path, typer.Argument(help="An FP32 artifact, MODEL.onnx.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Default: MODEL.int8.onnx beside the artifact."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of photos. Default: free photos that scikit-image ships."),
    ] = None,
    degrade: Annotated[
        Degrade,
        typer.Option(help="What is done to the photos first; none: they are old and damaged."),
    ] = "mild",
    tile: Annotated[int, typer.Option(min=16, help="Side of tiles in pixels.")] = 96,
    tiles: Annotated[int, typer.Option(min=4, help="Number of tiles to find ranges on.")] = 40,
    judging: Annotated[
        int, typer.Option(min=2, help="Number of other tiles, for measuring PSNR.")
    ] = 24,
    min_psnr: Annotated[
        float, typer.Option(help="Accuracy threshold: mean PSNR to FP32 in dB; 40 or more.")
    ] = 40.0,
    ranges: Annotated[
        str,
        typer.Option(
            help="Methods of finding the range of activations to try, of max, percentile, entropy "
            "and mse; the most exact one is taken."
        ),
    ] = "max,percentile,entropy,mse",
    only: Annotated[
        str | None, typer.Option(help="Regular expression: layers that may become 8 bits.")
    ] = None,
    residuals: Annotated[
        bool,
        typer.Option("--residuals/--no-residuals", help="Skips of dense blocks in 8 bits too."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of degradations and of the choice of tiles.")] = 0,
    timed: Annotated[
        bool,
        typer.Option(
            "--timed/--no-timed", help="Measure the speed of mixes that pass on this machine."
        ),
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a result.")] = False,
) -> None:
    """Find the fastest INT8/FP32 layer assignment that meets the accuracy threshold.

    Beside MODEL.int8.onnx lie a report (.json) and its plot (.svg). If no mix passes, no artifact
    is written, and the exit code is 5. An interrupted run continues where it stopped.
    """
    try:
        from restora_calibration.calibration_set import (
            SetPlan,
            bundled_sources,
            describe_set,
            make_calibration_set,
            read_sources,
        )
        from restora_calibration.degrade import FACES, MILD
        from restora_calibration.int8 import run
        from restora_calibration.int8.plot import plot_calibration
        from restora_calibration.int8.ranges import METHODS
        from restora_calibration.int8.speed import median_seconds
        from restora_calibration.int8.trial import TrialLog
    except ImportError as error:
        raise MissingBackendError(
            f"calibrating needs pip install 'restora[calibration,cpu]' ({error})"
        ) from error
    methods = tuple(ranges.split(","))
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise OptionError(f"--ranges are of {', '.join(METHODS)}, got {', '.join(unknown)}")
    artifact = read_artifact(model)
    target = output or model.with_suffix(".int8.onnx")
    if target.exists() and not overwrite:
        raise OptionError(f"{target} exists already: give --overwrite to replace it")
    plan = run.Plan(methods=methods, min_psnr=min_psnr, only=only, residuals=residuals)  # type: ignore[arg-type]
    degradation = {"mild": MILD, "faces": FACES, "none": None}[degrade]
    sources = bundled_sources() if data is None else read_sources(data, report=print_note)
    chosen = make_calibration_set(
        sources,
        SetPlan(
            artifact.info.side or tile,
            tiles,
            judging,
            degradation,
            keep_size=artifact.info.side is not None,
            seed=seed,
        ),
        report=print_note,
    )
    print_note(describe_set(chosen))
    make_folder(target.parent)
    log = TrialLog(target.with_suffix(".trials.jsonl"), run.log_key(artifact, chosen))
    if log.found:
        print_note(f"going on: {len(log.found)} trials are in {log.path}")
    result = run.calibrate(
        artifact,
        chosen,
        plan,
        log=log,
        speed=median_seconds if timed else None,
        report=print_note,
    )
    report = run.describe(result, chosen, plan)
    write_atomically(target.with_suffix(".json"), (json.dumps(report, indent=1) + "\n").encode())
    plot_calibration(report, target.with_suffix(".svg"))
    best = result.best
    words = (
        f"{len(best.recipe.layers)} layers in 8 bits ({best.products:.0%} of the products), "
        f"{len(result.kept)} in FP32: {best.distance.mean:.2f} dB mean, "
        f"{best.distance.least:.2f} least"
    )
    if result.artifact is None:
        log.remove()
        raise AccuracyGateError(
            f"no mix of {artifact.info.model} reaches {min_psnr:g} dB, nothing is written; the "
            f"closest: {words}; see {target.with_suffix('.json')}"
        )
    write_atomically(target, result.artifact.onnx)
    log.remove()
    print_note(f"{target}: {words}")
    speedups = result.speedups()
    for runtime, times in speedups.items():
        print_note(f"{times:.2f} times as fast as FP32 on ONNX Runtime: {runtime}")
    if speedups and max(speedups.values()) <= 1:
        print_note("8 bits gain nothing on this machine")
