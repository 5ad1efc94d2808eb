"""Read a picture's file safely: its kind and size are checked before a byte is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from restora.errors import FileTooLargeError, ImageError, NotAFileError
from restora.image.limits import PhotoLimits

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# a pipe without a writer would block the call that opens it
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def open_file(
    path: Path | str, limits: PhotoLimits | None = None
) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file for reading, unbuffered; gives the stream and the file's size in bytes.

    Links are followed. Raises NotAFileError for a pipe, a device, a socket or a folder,
    FileTooLargeError past limits.max_file_bytes, and ImageError if the file cannot be opened or,
    from within, read.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise ImageError(f"{path} cannot be read: {_reason(error)}") from error
    try:
        size = _check(path, os.fstat(descriptor), limits or PhotoLimits())
    except BaseException:
        os.close(descriptor)
        raise
    try:
        with os.fdopen(descriptor, "rb", buffering=0) as stream:
            yield stream, size
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {_reason(error)}") from error


def read_file(path: Path | str, limits: PhotoLimits | None = None) -> bytes:
    """The bytes of a regular file; errors as open_file. Of a file that grows meanwhile, as many as
    it had when it was opened."""
    with open_file(path, limits) as (stream, size):
        return read_up_to(stream, size)


def read_up_to(stream: BinaryIO, count: int) -> bytes:
    """At most `count` bytes from an unbuffered stream, fewer only at its end."""
    data = stream.read(count)
    if len(data) == count or not data:
        return data
    parts = [data]
    left = count - len(data)
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _check(path: Path | str, status: os.stat_result, limits: PhotoLimits) -> int:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "no file")
        raise NotAFileError(f"{path} must be a regular file, it is {kind}")
    if status.st_size > limits.max_file_bytes:
        raise FileTooLargeError(
            f"{path} has {status.st_size / 1e6:.0f} MB, the limit is "
            f"{limits.max_file_bytes / 1e6:g}: raise it with max_file_bytes (--max-file-size) if "
            "the file can be trusted"
        )
    return status.st_size


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
