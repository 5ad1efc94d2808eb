"""Turn errors and signals into exit codes."""

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, ParamSpec, TypeVar

import typer

from restora.cli.console import print_error
from restora.cli.streams import StdoutError
from restora.errors import RestoraError
from restora.exit_codes import ExitCode, exit_code_of

P = ParamSpec("P")
R = TypeVar("R")


class Terminated(BaseException):
    """SIGTERM arrived; raised so that open files are cleaned up on the way out."""


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn typed errors into one line on stderr and an exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        signal.signal(signal.SIGTERM, _raise_terminated)
        try:
            return command(*args, **kwargs)
        except StdoutError:
            raise
        except RestoraError as error:
            print_error(str(error))
            raise typer.Exit(exit_code_of(error)) from error
        except KeyboardInterrupt:
            print_error("interrupted; finished files are kept; run again to go on")
            leave(ExitCode.INTERRUPTED)
        except Terminated:
            print_error("terminated; finished files are kept; run again to go on")
            leave(ExitCode.TERMINATED)

    return wrapped


def _raise_terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def leave(code: ExitCode) -> NoReturn:
    """Exit at once: a network that runs in another thread would keep the process for minutes."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):  # None if it was closed at the start
            stream.flush()
    os._exit(code)
