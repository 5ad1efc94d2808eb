"""Commands that are imported when they are called, not when they are listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """What the list of commands shows of one, without importing it.

    place: "module:name" of a function, or of a typer.Typer for a command with subcommands
    summary: the first sentence of the command's own help
    panel: the heading that it is listed under
    """

    place: str
    summary: str
    panel: str


def make_lazy_group(
    entries: dict[str, CommandEntry], finish: Callable[[Any], None]
) -> type[TyperGroup]:
    """A group class whose commands are stand-ins with a name and a summary until one is called.

    finish: is called with each command once, when it is loaded
    """

    class LazyGroup(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            for name, entry in entries.items():
                self.add_command(_StandIn(name, entry), name)

        def load(self, name: str) -> Any:
            """Import a command, by its name."""
            if isinstance(self.commands[name], _StandIn):
                command = _load_command(name, entries[name].place)
                command.rich_help_panel = entries[name].panel
                finish(command)
                self.commands[name] = command
            return self.commands[name]

        def load_all(self) -> Any:
            """Import all commands, for a walk through the tree."""
            for name in entries:
                self.load(name)
            return self

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
            """Called for a command that runs, and for one whose options a shell completes."""
            name, command, rest = super().resolve_command(ctx, args)
            return name, None if command is None else self.load(str(name)), rest

    return LazyGroup


class _StandIn(TyperCommand):
    def __init__(self, name: str, entry: CommandEntry) -> None:
        super().__init__(name, help=entry.summary, rich_help_panel=entry.panel)


def _load_command(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    single.command(name)(found)
    return typer.main.get_command(single)
