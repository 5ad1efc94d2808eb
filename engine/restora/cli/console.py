"""Consoles: results and JSON lines go to stdout, everything else to stderr."""

import json
import logging
import os
import sys
from functools import cache
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text


@cache
def stderr_console() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


@cache
def stdout_console() -> Console:
    return Console(highlight=False)


def print_error(message: str) -> None:
    # in one piece: a progress bar overwrites an unfinished line
    stderr_console().print(Text.assemble(("error:", "bold red"), " ", message))


def print_note(message: str) -> None:
    stderr_console().print(message, markup=False)


def print_json(row: dict[str, Any]) -> None:
    """Print one JSON object on one line and flush it, so that a pipe can follow."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # names of files may be any bytes
        line = json.dumps(row)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def set_up_logging(verbose: bool) -> None:
    """Log warnings to stderr; with `verbose` or RESTORA_LOG, progress too."""
    level = os.environ.get("RESTORA_LOG", "").upper() or ("INFO" if verbose else "WARNING")
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        level = "WARNING"
    handler = RichHandler(console=stderr_console(), show_path=False, show_time=verbose)
    logging.basicConfig(level=level, handlers=[handler], format="%(message)s", force=True)
