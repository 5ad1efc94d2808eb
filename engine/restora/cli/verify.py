"""`restora verify`: hold an artifact against its PyTorch reference again."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from restora.artifact import check_accuracy, find_gate
from restora.cli.console import print_json, stdout_console
from restora.cli.exits import reports_errors
from restora.cli.export import import_export, parse_blend
from restora.errors import AccuracyGateError
from restora.exit_codes import ExitCode


@reports_errors
def verify(
    artifact: Annotated[Path, typer.Argument(help="An .onnx file made by `restora export`.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "-c",
            help="What it was made from. Default: looked for beside the artifact and in the "
            "model folder, by its SHA-256.",
        ),
    ] = None,
    blend: Annotated[
        str | None,
        typer.Option(metavar="FILE:SHARE", help="The other checkpoint, as given to export."),
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare an artifact with PyTorch on photo tiles and random input, in several sizes.

    Exit code 5 if it is further away than its gate allows.
    """
    files = import_export()
    info, figures = files.verify_file(artifact, checkpoint, parse_blend(blend))
    failure = None
    try:
        check_accuracy(info, figures)
    except AccuracyGateError as error:
        failure = str(error)
    if json_lines:
        print_json({"artifact": str(artifact), **asdict(figures), "passed": failure is None})
    else:
        gate = find_gate(info)
        table = Table(title=f"{info.model}, {info.precision}, {info.io}, x{info.scale}")
        table.add_column("against " + figures.reference)
        table.add_column("measured", justify="right")
        table.add_column("gate", justify="right")
        table.add_row(
            "max error, share of range", f"{figures.max_error:.3g}", _at_most(gate.max_error)
        )
        table.add_row("PSNR mean, dB", f"{figures.psnr_mean:.1f}", _at_least(gate.psnr_mean))
        table.add_row("PSNR min, dB", f"{figures.psnr_min:.1f}", _at_least(gate.psnr_min))
        table.add_row("SSIM mean", f"{figures.ssim_mean:.6f}", "")
        table.add_row("NaN or Inf", str(figures.nonfinite), "0")
        table.add_row("batches compared", str(figures.tiles), "")
        stdout_console().print(table)
        stdout_console().print(
            "failed" if failure else "passed", style="red" if failure else "green"
        )
    if failure:
        raise AccuracyGateError(failure)
    raise typer.Exit(ExitCode.OK)


def _at_most(bound: float | None) -> str:
    return "" if bound is None else f"<= {bound:.3g}"


def _at_least(bound: float | None) -> str:
    return "" if bound is None else f">= {bound:g}"
