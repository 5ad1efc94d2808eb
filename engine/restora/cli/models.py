"""`restora models`: what there is, what is here, and fetching the rest."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from restora.cli.console import print_json, print_note, stderr_console, stdout_console
from restora.cli.exits import reports_errors
from restora.models import (
    MODELS,
    ModelFiles,
    fetch_model,
    find_entry,
    find_model,
    find_model_folder,
)

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
    """List the known models and what of them is on this machine."""
    if context.invoked_subcommand is not None:
        return
    found = [find_model(name) for name in MODELS]
    if json_lines:
        for files in found:
            print_json({**asdict(files.entry), "present": present_parts(files)})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "scale", "here"):
        table.add_column(column, no_wrap=True)
    table.add_column("for", overflow="fold")
    for files in found:
        entry = files.entry
        parts = present_parts(files)
        table.add_row(
            entry.name,
            entry.kind,
            f"x{entry.scale}" if entry.scale else "",
            f"[green]{', '.join(parts)}[/]" if parts else "[dim]no[/]",
            entry.purpose,
        )
    stdout_console().print(table)
    folder = find_model_folder() or "none, for want of a home directory; RESTORA_MODELS sets it"
    stdout_console().print(f"model folder: {folder}", style="dim", markup=False)


@models_app.command("fetch")
@reports_errors
def fetch(
    name: Annotated[str, typer.Argument(help="A name that `restora models` lists.")],
) -> None:
    """Download a model's checkpoint into the model folder, checked and resumed after a cut."""
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
            progress=lambda done, total: bar.update(task, completed=done, total=total or None),
        )
    print_note(f"{entry.name} is at {path}")


def present_parts(files: ModelFiles) -> list[str]:
    """Which of a model's files are here, in words."""
    parts = []
    if files.artifact is not None or files.artifact_float32 is not None:
        parts.append("bundled" if files.entry.bundled else "artifact")
    if files.checkpoint is not None:
        parts.append("checkpoint")
    return parts
