"""`restora tune`: measure which backend runs a model fastest on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.table import Table

from restora.artifact import Kind
from restora.backends.options import CpuOptions, SessionOptions
from restora.backends.trial import Trial
from restora.backends.tune import tune as tune_artifact
from restora.cli import runtime_flags
from restora.cli.console import print_json, print_note, stdout_console
from restora.cli.exits import reports_errors
from restora.models import MODELS
from restora.models.resolve import find_or_export
from restora.options import computed_area


@reports_errors
def tune(
    model: Annotated[
        str, typer.Argument(help="A name listed by `restora models`, or the path of an artifact.")
    ],
    io: Annotated[
        Literal["uint8", "float32"],
        typer.Option(help="Type of input and output; float32 is for 16-bit images."),
    ] = "uint8",
    precision: runtime_flags.Precision = "auto",
    threads: runtime_flags.Threads = 0,
    side: Annotated[
        int | None, typer.Option(min=8, help="Side of the tile, in pixels. Default: 128, then 256.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure which backend runs a model fastest on this machine, and keep the result.

    From then on --backend auto uses the fastest one that passes the self-check of the model, until
    the versions of the runtimes change. NVIDIA GPUs go first. Let nothing else run meanwhile.
    """
    entry = MODELS.get(model.removesuffix(".pth"))
    kind: Kind = "upsampler" if entry is None else entry.kind
    options = SessionOptions(precision=precision, cpu=CpuOptions(threads=threads))
    path = find_or_export(model, io, kind)
    area = computed_area if kind == "upsampler" else None
    trial = tune_artifact(path, options, side=side, area=area, report=print_note)
    if json_lines:
        print_json(asdict(trial))
    else:
        stdout_console().print(trial_table(model, trial))


def trial_table(model: str, trial: Trial) -> Table:
    """The results, fastest first."""
    table = Table(title=f"{model}, tiles of {trial.side}, {trial.threads} threads, {trial.cpu}")
    for column in ("backend", "precision", "seconds per megapixel", "relative speed"):
        table.add_column(column, justify="left" if column in ("backend", "precision") else "right")
    slowest = trial.results[-1].seconds
    for result in trial.results:
        speed = f"{slowest / result.seconds:.2f}"
        table.add_row(result.backend, result.precision, f"{result.seconds:.3g}", speed)
    return table
