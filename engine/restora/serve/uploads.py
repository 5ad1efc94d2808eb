"""Bodies of requests: small ones are kept in memory, larger ones go to a file as they arrive."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, BinaryIO

import anyio

from restora.errors import (
    ClientGoneError,
    DiskFullError,
    FileTooLargeError,
    OutputError,
    UploadTimeoutError,
)
from restora.jobs.disk import NO_SPACE
from restora.serve.tickets import Ticket

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Blob:
    """Bytes in memory, or in a file that close() removes.

    folder: for the file; memory_bytes: what is kept in memory; most_bytes: the limit of all

    Raises FileTooLargeError past the limit, DiskFullError or OutputError if the file cannot be
    written.
    """

    def __init__(self, folder: Path, *, memory_bytes: int, most_bytes: int) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._most_bytes = most_bytes
        self._parts: list[bytes] = []
        self._stream: BinaryIO | None = None
        self.path: Path | None = None
        self.size = 0

    def needs_disk(self, count: int) -> bool:
        """Whether `count` more bytes go to the file, for which writing may wait."""
        return self._stream is not None or self.size + count > self._memory_bytes

    def write(self, part: bytes) -> None:
        self.size += len(part)
        if self.size > self._most_bytes:
            raise FileTooLargeError(
                f"a photo may have {self._most_bytes} bytes here, this one has more: "
                "--max-file-size"
            )
        if self._stream is None and self.size <= self._memory_bytes:
            self._parts.append(part)
            return
        try:
            if self._stream is None:
                self.path = self._folder / secrets.token_hex(16)
                self._stream = os.fdopen(
                    os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
                )
                self._stream.write(b"".join(self._parts))
                self._parts.clear()
            self._stream.write(part)
        except OSError as error:
            raise _write_error(error) from error

    def finish(self) -> Path | bytes:
        """The file, or the bytes; nothing can be written any more."""
        if self._stream is None:
            if len(self._parts) != 1:
                self._parts = [b"".join(self._parts)]
            return self._parts[0]
        try:
            self._stream.close()
        except OSError as error:
            raise _write_error(error) from error
        assert self.path is not None
        return self.path

    def close(self) -> None:
        self._parts.clear()
        try:
            if self._stream is not None:
                self._stream.close()
        except OSError:  # what could not be written is removed now
            pass
        finally:
            if self.path is not None:
                self.path.unlink(missing_ok=True)


async def iter_body(
    receive: Receive, *, timeout_s: float, ticket: Ticket | None = None
) -> AsyncIterator[bytes]:
    """Yield the parts of a request's body as they arrive.

    ticket: of the request, if it may have a deadline

    Raises UploadTimeoutError if they do not arrive within the time, DeadlineExceededError if not
    before the deadline, ClientGoneError if the client closes the connection.
    """
    until = anyio.current_time() + timeout_s
    deadline = None if ticket is None else ticket.deadline
    if deadline is not None:
        until = min(until, anyio.current_time() + deadline - time.monotonic())
    more = True
    while more:
        message: MutableMapping[str, Any] | None = None
        with anyio.move_on_after(max(0.0, until - anyio.current_time())):
            message = await receive()
        if message is None:
            if ticket is not None:
                ticket.check()
            raise UploadTimeoutError(f"the body must arrive within {timeout_s:g} s")
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the client closed the connection while it sent the photo")
        more = message.get("more_body", False)
        if part := message.get("body", b""):
            yield part


def _write_error(error: OSError) -> OutputError:
    kind = DiskFullError if error.errno in NO_SPACE else OutputError
    return kind(f"the photo cannot be kept on disk: {error.strerror or error}")
