"""Facts about the code of commands: flags become options, and options go into one library call."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from restora.cli.app import COMMANDS, choices_of, make_command

FOLDER = Path(__file__).parents[3] / "engine" / "restora" / "cli"
MOST_LINES = 80


def functions() -> list[tuple[str, str, int]]:
    """File, name and number of lines of every function, decorators included."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                assert node.end_lineno is not None
                found.append((path.name, node.name, node.end_lineno - first + 1))
    return found


@pytest.mark.parametrize(("file", "name", "lines"), functions())
def test_no_function_of_a_command_is_above_80_lines(file: str, name: str, lines: int) -> None:
    assert lines <= MOST_LINES, f"{name} of {file}"


def leaves(command: Any, name: str) -> list[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(name, command)]
    return [leaf for word, one in inner.items() for leaf in leaves(one, f"{name} {word}".strip())]


LEAVES = leaves(make_command().load_all(), "")


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])
def test_a_command_with_many_options_lists_them_under_headings(name: str, command: Any) -> None:
    options = [p for p in command.params if p.param_type_name == "option"]
    without = [p.name for p in options if p.rich_help_panel is None]
    assert len(options) <= 12 or len(without) <= 8, f"{name}: {without}"


def test_each_command_has_a_heading_in_the_list() -> None:
    assert all(entry.panel for entry in COMMANDS.values())


def kind_of(parameter: Any) -> str:
    """Of an option's value, such as "int"; None and ranges aside."""
    if choices_of(parameter):
        return "choice"
    described = getattr(parameter, "type_descriptor", None)  # Typer without Click
    kind = getattr(described.annotation if described else parameter.type, "__name__", None)
    return str(kind or described or parameter.type.name).removesuffix(" range")


def test_a_flag_takes_the_same_kind_of_value_in_all_commands() -> None:
    """But for --threads, of which `bench run` takes several, and --tile, which may be auto."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for name, command in LEAVES:
        for parameter in command.params:
            for flag in [*parameter.opts, *parameter.secondary_opts]:
                if flag.startswith("-") and flag not in ("--threads", "--tile"):
                    kinds.setdefault(flag, {}).setdefault(kind_of(parameter), []).append(name)
    assert {flag: found for flag, found in kinds.items() if len(found) > 1} == {}


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])
def test_no_name_is_cut_in_help(
    name: str,
    command: Any,
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        make_command()(args=[*name.split(), "--help"], prog_name="restora")
    page = capsys.readouterr().out
    assert "…" not in page
    for flag in (flag for parameter in command.params for flag in parameter.opts):
        assert flag in page
