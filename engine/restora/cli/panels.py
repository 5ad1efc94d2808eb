"""Headings that the help of a command with many options lists them under."""

from collections.abc import Callable
from functools import partial
from typing import Any

import typer


def in_panel(heading: str) -> Callable[..., Any]:
    """typer.Option, listed under a heading."""
    return partial(typer.Option, rich_help_panel=heading)


files = in_panel("Files")
tiles = in_panel("Tiles")
faces = in_panel("Faces")
backend = in_panel("Backend")
limits = in_panel("Limits")
