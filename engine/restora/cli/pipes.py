"""Standard input and output as bytes, for a photo or a video that comes or goes through a pipe."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from restora.cli.streams import StdoutError, stdout_error
from restora.errors import OptionError


def is_pipe(path: Path) -> bool:
    """Whether a path given as an option means standard input or output."""
    return str(path) == "-"


def open_stdin() -> io.FileIO | io.BufferedReader:
    """Standard input; unbuffered unless something took its place in this process.

    Raises OptionError if it is closed, or a terminal.
    """
    if sys.stdin is None:
        raise OptionError("-i - reads from standard input, which is closed")
    if sys.stdin.isatty():
        raise OptionError("-i - reads from standard input, which is a terminal: use a pipe or <")
    stream: Any = sys.stdin.buffer
    raw: io.FileIO | io.BufferedReader = getattr(stream, "raw", stream)
    return raw


class BinaryStdout:
    """A file object that writes all that it is given, and loses no error."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        """Raises StdoutError if the data cannot be written."""
        view = memoryview(data)
        try:
            while view:
                count = self._stream.write(view)
                if count is None:  # another program made the pipe non-blocking, and it is full
                    select.select([], [self._stream], [])
                view = view[count or 0 :]
        except (OSError, ValueError) as error:
            raise stdout_error(error) from error
        return len(data)


@contextlib.contextmanager
def open_stdout() -> Iterator[BinaryStdout]:
    """Standard output for the bytes of a result. Whatever else is printed there meanwhile, also by
    libraries, goes to stderr.

    Raises OptionError if it is a terminal, StdoutError if it is closed.
    """
    if sys.stdout.isatty():
        raise OptionError("-o - writes to standard output, which is a terminal: use a pipe or >")
    try:
        number = sys.stdout.fileno()
    except io.UnsupportedOperation:  # something took its place in this process
        yield BinaryStdout(sys.stdout.buffer)
        return
    except AttributeError as error:  # there is none
        raise StdoutError("standard output is closed") from error
    sys.stdout.flush()
    with io.FileIO(os.dup(number), "w") as stream:
        os.dup2(2, number)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield BinaryStdout(stream)
        finally:
            os.dup2(stream.fileno(), number)
