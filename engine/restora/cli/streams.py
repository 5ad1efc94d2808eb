"""Guard standard streams that are closed or full: losing a result on stdout is an error, losing a
message on stderr is not."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from restora.errors import OutputError

_FAILED = 6  # ExitCode.ENVIRONMENT, without importing the commands


class StdoutError(OutputError):
    """A result could not be written to stdout. gone: its reader has ended; nothing is printed."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


@contextlib.contextmanager
def guard_streams() -> Iterator[None]:
    """Raise StdoutError if writing to stdout fails, and drop what cannot be written to stderr.

    Both streams are flushed at the end. A StdoutError that leaves the body ends the process with
    exit code 6.
    """
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, _Stdout(sys.stdout))
    sys.stderr = cast(TextIO, _Stderr(sys.stderr))
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    except StdoutError as error:
        leave_without_stdout(error)
    finally:
        sys.stdout, sys.stderr = before


def leave_without_stdout(error: StdoutError) -> None:
    """Exit at once; Python would try to flush stdout again, and fail."""
    if not error.gone:
        sys.stderr.write(f"error: {error}\n")
        sys.stderr.flush()
    os._exit(_FAILED)


def _open_closed_descriptors() -> None:
    """Open the null device for each closed stream: a file opened later would take its number, and
    with it what is written to the stream."""
    for descriptor in (0, 1, 2):
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class _Stream:
    """A text stream, or None for one that was closed when the process started."""

    def __init__(self, inner: TextIO | None) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def isatty(self) -> bool:
        return self._inner is not None and self._inner.isatty()

    def write(self, text: str) -> int:
        raise NotImplementedError

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)


class _Stdout(_Stream):
    def write(self, text: str) -> int:
        if self._inner is None:
            raise StdoutError("standard output is closed")
        try:
            return self._inner.write(text)
        except (OSError, ValueError) as error:
            raise stdout_error(error) from error

    def flush(self) -> None:
        if self._inner is None or self._inner.closed:
            return
        try:
            self._inner.flush()
        except (OSError, ValueError) as error:
            raise stdout_error(error) from error


class _Stderr(_Stream):
    def write(self, text: str) -> int:
        if self._inner is not None:
            with contextlib.suppress(OSError, ValueError):
                return self._inner.write(text)
        return len(text)

    def flush(self) -> None:
        if self._inner is not None:
            with contextlib.suppress(OSError, ValueError):
                self._inner.flush()


def stdout_error(error: OSError | ValueError) -> StdoutError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    gone = isinstance(error, BrokenPipeError)
    return StdoutError(f"results cannot be written to standard output: {reason}", gone=gone)
