"""`restora doctor`: what this machine can run, and what to install for the rest."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from restora.cli.console import print_json, stdout_console
from restora.cli.exits import reports_errors
from restora.doctor import Finding, can_restore, examine
from restora.exit_codes import ExitCode
from restora.version import __version__

_COLORS = {"ok": "green", "missing": "yellow", "failed": "red"}


@reports_errors
def doctor(
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what this machine can run, and what to install for the rest.

    Exit code 6 if photos cannot be restored here.
    """
    findings = examine()
    if json_lines:
        print_json({"restora": __version__, "findings": [asdict(f) for f in findings]})
    else:
        stdout_console().print(findings_table(findings))
    raise typer.Exit(ExitCode.OK if can_restore(findings) else ExitCode.ENVIRONMENT)


def findings_table(findings: Sequence[Finding]) -> Table:
    """One row per finding; brackets in text, as in restora[export], are not markup."""
    table = Table(title=f"restora {__version__}", show_lines=False)
    for column in ("part", "state", "found", "to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        color = _COLORS[finding.state]
        texts = (escape(finding.detail), escape(finding.advice))
        table.add_row(finding.what, f"[{color}]{finding.state}[/]", *texts)
    return table
