"""`restora cache`: the TensorRT plans on this machine."""

from typing import Annotated

import typer
from rich.table import Table

from restora.backends.tensorrt.cache import PlanCache
from restora.cli.console import print_json, print_note, stdout_console
from restora.cli.exits import reports_errors
from restora.exit_codes import ExitCode

cache_app = typer.Typer(
    help="List, verify or clear the TensorRT plans.", no_args_is_help=True, add_completion=False
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object per plan on stdout.")]


@cache_app.command("list")
@reports_errors
def list_plans(json_lines: Json = False) -> None:
    """List the plans, what they were built for and how exact they are."""
    cache = PlanCache()
    rows = [(key, facts) for key, facts, _ in cache.entries()]
    if json_lines:
        for _, facts in rows:
            print_json(facts)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("plan", "model", "precision", "largest input", "GPU", "MB", "PSNR"):
        table.add_column(column)
    for key, facts in rows:
        figures, options = facts.get("selfcheck", {}), facts.get("options", {})
        table.add_row(
            key[:12],
            str(facts.get("model", "?")),
            str(options.get("precision", "?")),
            "x".join(map(str, facts.get("profile", {}).get("largest", ())[:3])),
            str(facts.get("device", {}).get("name", "?")),
            f"{facts.get('size', 0) / 1e6:.1f}",
            str(figures.get("psnr_min", "?")),
        )
    stdout_console().print(table)
    stdout_console().print(f"plan folder: {cache.folder}", style="dim")


@cache_app.command("verify")
@reports_errors
def verify_plans() -> None:
    """Check every plan against its digest. Exit code 5 if one does not fit."""
    damaged = 0
    for key, _, problem in PlanCache().entries():
        print_note(f"{key[:12]}: {problem or 'sound'}")
        damaged += problem is not None
    raise typer.Exit(ExitCode.MODEL if damaged else ExitCode.OK)


@cache_app.command("clear")
@reports_errors
def clear_plans() -> None:
    """Delete all plans; they are built again when they are needed."""
    cache = PlanCache()
    print_note(f"deleted {cache.clear()} plans from {cache.folder}")
