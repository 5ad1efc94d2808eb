"""Open model files safely: the kind of file is checked before it is read."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from restora.errors import MissingModelError, ModelError, RestoraError

MAX_CHECKPOINT_BYTES = 2 << 30  # the largest published checkpoint has 0.35 GB
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# do not wait for the writer of a pipe
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 20


@contextmanager
def open_model_file(
    path: Path | str,
    *,
    what: str,
    error: type[ModelError],
    max_bytes: int = MAX_CHECKPOINT_BYTES,
) -> Iterator[BinaryIO]:
    """Open a regular file for reading. Links are followed.

    what: "checkpoint" or "artifact", for the messages
    error: the type of all errors except for a missing file
    max_bytes: larger files are refused before they are read

    Raises MissingModelError if there is no file, and `error` for a folder, a pipe, a device, an
    invalid path, a file larger than max_bytes, and an OSError while the file is open.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError) as missing:
        raise MissingModelError(f"there is no {what} at {shown(path)}") from missing
    except (OSError, ValueError) as failure:  # ValueError: the path contains a NUL byte
        kind = kind_of(path)  # sockets cannot be opened
        reason = _reason(failure) if kind in (None, "a file") else f"it is {kind}"
        raise error(f"{shown(path)} cannot be opened: {reason}") from failure
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise error(
                f"{what} {shown(path)} must be a regular file, it is {_kind(status.st_mode)}"
            )
        if status.st_size > max_bytes:
            raise error(
                f"{what} {shown(path)} has {status.st_size} bytes, the limit is {max_bytes}"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            yield stream
    except OSError as failure:
        if isinstance(failure, RestoraError):
            raise
        raise error(f"{shown(path)} cannot be read: {_reason(failure)}") from failure
    finally:
        os.close(descriptor)


def is_regular_file(path: Path | str) -> bool:
    """Whether the path leads to a regular file. Invalid paths give False."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  # Path.is_file raises for some
    except (OSError, ValueError):
        return False


def kind_of(path: Path | str) -> str | None:
    """Describe what a path leads to, such as "a folder", or None if nothing is there."""
    try:
        return _kind(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return None


def sha256_of_stream(stream: BinaryIO) -> str:
    """SHA-256 of the whole file. The stream is at its end afterwards."""
    return sha256_of_streams(stream)


def sha256_of_streams(*streams: BinaryIO) -> str:
    """SHA-256 of whole files, one after the other."""
    digest = hashlib.sha256()
    for stream in streams:
        stream.seek(0)
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def shown(name: Path | str) -> str:
    """Shorten a path or name for a message, and remove terminal control characters."""
    text = str(name)
    text = text if len(text) <= 300 else f"{text[:140]}…{text[-140:]}"
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _kind(mode: int) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "a file")


def _reason(failure: Exception) -> str:
    return (failure.strerror if isinstance(failure, OSError) else None) or str(failure)
