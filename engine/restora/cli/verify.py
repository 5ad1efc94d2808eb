"""`restora verify`: compare an artifact with its PyTorch reference again."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from restora.artifact import Accuracy, ArtifactInfo, check_accuracy, find_gate
from restora.cli.console import print_json, stdout_console
from restora.cli.exits import reports_errors
from restora.cli.export import import_export, parse_interpolation
from restora.errors import AccuracyGateError


@reports_errors
def verify(
    artifact: Annotated[Path, typer.Argument(help="An .onnx file made by `restora export`.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "-c",
            help="The checkpoint that it was made from. Default: found by its SHA-256 next to the "
            "artifact or in the model folder.",
        ),
    ] = None,
    interpolate: Annotated[
        str | None,
        typer.Option(metavar="FILE:SHARE", help="The other checkpoint, as in `restora export`."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Dictionary in the checkpoint, as in `restora export`.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare an artifact with PyTorch on photo tiles and random input, in several sizes.

    Exit code 5 if it misses the accuracy threshold.
    """
    info, figures = import_export().verify_file(
        artifact, checkpoint, parse_interpolation(interpolate), key=key
    )
    failure = None
    try:
        check_accuracy(info, figures)
    except AccuracyGateError as error:
        failure = error
    if json_lines:
        print_json({"artifact": str(artifact), **asdict(figures), "passed": failure is None})
    else:
        stdout_console().print(accuracy_table(info, figures))
        color, text = ("green", "passed") if failure is None else ("red", "failed")
        stdout_console().print(text, style=color)
    if failure is not None:
        raise failure


def accuracy_table(info: ArtifactInfo, figures: Accuracy) -> Table:
    """What was measured, beside the thresholds."""
    threshold = find_gate(info)
    table = Table(title=f"{info.model}, {info.precision}, {info.io}, x{info.scale}")
    table.add_column("against " + figures.reference)
    table.add_column("measured", justify="right")
    table.add_column("threshold", justify="right")
    table.add_row(
        "max error, share of range", f"{figures.max_error:.3g}", _at_most(threshold.max_error)
    )
    table.add_row("PSNR mean, dB", f"{figures.psnr_mean:.1f}", _at_least(threshold.psnr_mean))
    table.add_row("PSNR min, dB", f"{figures.psnr_min:.1f}", _at_least(threshold.psnr_min))
    table.add_row("SSIM mean", f"{figures.ssim_mean:.6f}", "")
    table.add_row("NaN or Inf", str(figures.nonfinite), "0")
    table.add_row("batches compared", str(figures.tiles), "")
    return table


def _at_most(bound: float | None) -> str:
    return "" if bound is None else f"<= {bound:.3g}"


def _at_least(bound: float | None) -> str:
    return "" if bound is None else f">= {bound:g}"
