"""`restora evaluate`: measure how near restored photos come to clean ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from restora.cli import runtime_flags
from restora.cli.console import print_error, print_note, stdout_console
from restora.cli.exits import reports_errors
from restora.cli.files import write_file
from restora.errors import MissingBackendError, OptionError
from restora.exit_codes import ExitCode
from restora.faces.options import FaceOptions
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions

METRICS = ("psnr", "ssim", "lpips", "fid", "identity")


@reports_errors
def evaluate(
    clean: Annotated[Path, typer.Option(help="The folder of clean photos.")],
    degraded: Annotated[
        Path | None,
        typer.Option(help="Their degraded partners of the same names. Default: they are made."),
    ] = None,
    ranges: Annotated[
        Literal["faces", "mild"],
        typer.Option(
            help="How clean photos are degraded: faces is blur 0.2-10, shrinking 1-8, noise "
            "0-15, JPEG 60-100; mild is blur 0.2-2, shrinking 2, noise 0-10, JPEG 60-100."
        ),
    ] = "faces",
    share: Annotated[
        float, typer.Option(help="Share of the photos to use, a seeded sample: 0.01 is 1 %.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the sample and of the degradation.")] = 0,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="Photos are aligned faces, as of FFHQ or CelebA.")
    ] = False,
    pipelines: Annotated[
        str,
        typer.Option(help="Which of none, faces, upsampler, faces+upsampler, separated by commas."),
    ] = "none,faces,faces+upsampler",
    model: Annotated[str, typer.Option("--model", "-n", help="The upsampler.")] = DEFAULT_MODEL,
    face_model: Annotated[str | None, typer.Option(help="Default: the first one here.")] = None,
    metrics: Annotated[str, typer.Option(help=f"Which of {', '.join(METRICS)}.")] = "psnr,ssim",
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the backbones of LPIPS and FID.")
    ] = None,
    arcface: Annotated[Path | None, typer.Option(help="ONNX file, for identity.")] = None,
    backend: runtime_flags.Backend = "auto",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A JSON file.")] = None,
) -> None:
    """Restore degraded photos and measure how close the results are to the clean ones.

    The protocol of the published table, on a folder of aligned CelebA or FFHQ faces:

    restora evaluate --clean DIR --aligned --share 0.01 --metrics psnr,ssim,lpips,fid
    --model RealESRGAN_x2plus --face-model GFPGANv1.4
    """
    try:
        from restora_benchmarks.evaluate import run as evaluation
        from restora_benchmarks.evaluate.metrics import FrechetDistance, Metric, lpips, psnr, ssim
        from restora_benchmarks.evaluate.pairs import (
            describe_ranges,
            make_pairs,
            read_pairs,
        )
        from restora_calibration.degrade import FACES, MILD
        from restora_calibration.folders import list_photos
    except ImportError as error:
        raise MissingBackendError(
            f"evaluating needs pip install 'restora[evaluate,cpu]' ({error})"
        ) from error
    names = metrics.split(",")
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise OptionError(f"--metrics are of {', '.join(METRICS)}, got {', '.join(unknown)}")
    if "identity" in names and (arcface is None or not aligned):
        raise OptionError("the metric identity needs --arcface FILE.onnx and --aligned")
    chosen = pipelines.split(",")
    wrong = [name for name in chosen if name not in evaluation.PIPELINES]
    if wrong:
        raise OptionError(f"--pipelines are of {', '.join(evaluation.PIPELINES)}, got {wrong[0]}")

    def make_metrics() -> list[Metric]:
        makers = {
            "psnr": psnr,
            "ssim": ssim,
            "lpips": lambda: lpips(weights),
            "fid": lambda: FrechetDistance(weights),
            "identity": _make_identity,
        }
        return [makers[name]() for name in names]

    def _make_identity() -> Metric:
        from restora_benchmarks.evaluate.identity import IdentityDistance

        assert arcface is not None
        return IdentityDistance(arcface)

    used = FACES if ranges == "faces" else MILD
    files = list_photos(clean, share=share, seed=seed)
    make_metrics()  # what is missing is said before hours of work
    rows = []
    for name in chosen:
        pipeline = evaluation.PipelineRun(
            name,  # type: ignore[arg-type]
            model=model,
            faces=FaceOptions(model=face_model),
            options=RestoreOptions(backend=backend),
            aligned=aligned,
        )
        pairs = (
            read_pairs(files, degraded)
            if degraded is not None
            else make_pairs(files, used, seed=seed, keep_size=aligned)
        )
        print_note(f"{name}: {len(files)} photos")
        found = evaluation.evaluate(
            pairs, pipeline.restore, make_metrics(), pipeline=pipeline.pipeline
        )
        pipeline.close()
        rows.append(found)
        for failed, reason in found.failed:
            print_error(f"{failed}: left out: {reason}")
    stdout_console().print(_table(rows))
    if output is not None:
        made = None if degraded is not None else {"seed": seed, **describe_ranges(used)}
        result = {
            "clean": str(clean),
            "photos": len(files),
            "share": share,
            "aligned": aligned,
            "degradation": made,
            "model": model,
            "face_model": face_model,
            "rows": [row.as_row() for row in rows],
        }
        write_file(output, json.dumps(result, indent=1) + "\n")
    if any(row.failed for row in rows):
        raise typer.Exit(ExitCode.SOME_FAILED)


def _table(rows: Sequence[object]) -> Table:
    from restora_benchmarks.evaluate.run import Evaluation

    evaluations = [row for row in rows if isinstance(row, Evaluation)]
    table = Table(title="against the clean photos")
    table.add_column("pipeline")
    table.add_column("photos", justify="right")
    for name in evaluations[0].figures:
        table.add_column(name, justify="right")
    for row in evaluations:
        figures = (f"{value:.4f}" for value in row.figures.values())
        table.add_row(row.pipeline, str(row.photos), *figures)
    return table
