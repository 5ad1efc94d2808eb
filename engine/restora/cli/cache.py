"""`restora cache`: the TensorRT plans on this machine."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from restora.backends.tensorrt.cache import PlanCache, Refusal
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
    """List the plans, what they were built for and how accurate they are, and refused ones."""
    cache = PlanCache()
    rows = [(key, facts) for key, facts, _ in cache.entries()]
    if json_lines:
        for _, facts in rows:
            print_json(facts)
        return
    stdout_console().print(plans_table(rows))
    for refusal in cache.refusals():
        stdout_console().print(describe_refusal(refusal), markup=False, soft_wrap=True)
    stdout_console().print(f"plan folder: {cache.folder or 'none'}", style="dim")


def plans_table(plans: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """One row per plan. plans: key and facts of each."""
    table = Table(box=None, pad_edge=False)
    for column in ("plan", "model", "precision", "largest input", "GPU", "MB", "PSNR"):
        table.add_column(column)
    for key, facts in plans:
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
    return table


def describe_refusal(refusal: Refusal) -> str:
    """What is not built again without `restora build --retry`, and why."""
    facts = refusal.facts
    size = "x".join(map(str, facts.get("asked_profile", {}).get("largest", ())[:3]))
    name = f"{facts.get('model', '?')}, {facts.get('options', {}).get('precision', '?')}, {size}"
    return f"refused: {name}: {refusal.reason}"


@cache_app.command("verify")
@reports_errors
def verify_plans() -> None:
    """Check every plan against its SHA-256. Exit code 5 if one is damaged."""
    damaged = 0
    for key, _, problem in PlanCache().entries():
        print_note(f"{key[:12]}: {problem or 'ok'}")
        damaged += problem is not None
    raise typer.Exit(ExitCode.MODEL if damaged else ExitCode.OK)


@cache_app.command("clear")
@reports_errors
def clear_plans() -> None:
    """Delete all plans. A plan is built again when it is needed."""
    cache = PlanCache()
    print_note(f"deleted {cache.clear()} plans from {cache.folder}")
