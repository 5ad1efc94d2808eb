"""The file object that FFmpeg writes a result to; it loses no error."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from restora.video.target import write_error


class Sink:
    """A file for FFmpeg to write to that keeps the first error instead of raising it.

    FFmpeg continues to write after an error, and PyAV prints the errors that follow. It would lose
    a BaseException such as KeyboardInterrupt.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._error: BaseException | None = None

    def write(self, data: bytes) -> int:
        if self._error is None:
            try:
                view = memoryview(data)
                while view:
                    view = view[self._stream.write(view) :]
            except BaseException as error:  # noqa: BLE001  # raised by check
                self._error = error
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._error is None:
            try:
                return self._stream.seek(offset, whence)
            except BaseException as error:  # noqa: BLE001  # raised by check
                self._error = error
        return offset

    def tell(self) -> int:
        return self._stream.tell()

    def check(self, target: Path) -> None:
        """Raise the first error: DiskFullError or OutputError; an interruption unchanged."""
        if isinstance(self._error, Exception):
            raise write_error(target, self._error) from self._error
        if self._error is not None:
            raise self._error
