"""Read and write the frames of YUV4MPEG2 streams."""

from __future__ import annotations

import io
import select
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any, Protocol

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from restora.errors import VideoError
from restora.video.y4m_header import MAGIC, Y4mHeader, parse_header

_FRAME = b"FRAME"
_MAX_LINE = 1024  # bytes; FFmpeg writes about 100
_CHECK_MS = 200  # how long a silent pipe delays the end of a run that is stopped
_FULL, _LIMITED = 2, 1  # FFmpeg's numbers of color ranges


class ByteSource(Protocol):
    """A file object opened in binary mode."""

    def readinto(self, buffer: Any, /) -> int | None: ...


class Y4mReader:
    """Iterates over the frames of a stream, after its header.

    source: only an unbuffered file object (io.FileIO) can be stopped while it waits for data
    stop: asked while `source` waits; once it is true the iteration ends

    problem: why the stream ends early; None if it does not
    """

    def __init__(self, source: ByteSource, *, stop: Callable[[], bool] = lambda: False) -> None:
        self.problem: str | None = None
        self._ask = stop
        self._source = source
        self._has_data = _poll_of(source)
        self._stopped = Event()
        self._frames = 0
        self._header: Y4mHeader | None = None

    def read_header(self) -> Y4mHeader | None:
        """Read the header, before the frames; None if the reader is stopped meanwhile.

        Raises VideoError if it is not valid.
        """
        line = self._read_line()
        if self._stopped.is_set():
            return None
        if not line:
            raise VideoError("the stream is empty: it must begin with a YUV4MPEG2 header")
        if not line.endswith(b"\n") and line.startswith(MAGIC):
            raise VideoError(f"the header must end within {_MAX_LINE} bytes, {len(line)} were read")
        self._header = parse_header(line.removesuffix(b"\n"))
        return self._header

    def stop(self) -> None:
        """End the iteration, also while it waits for data; may be called from another thread."""
        self._stopped.set()

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield frames in the pixel format of the header, without times."""
        assert self._header is not None, "the header comes first"
        while (frame := self._read_frame(self._header)) is not None:
            self._frames += 1
            yield frame

    def _read_frame(self, header: Y4mHeader) -> VideoFrame | None:
        line = self._read_line()
        if self._stopped.is_set() or not line:
            return None
        if line.split()[:1] != [_FRAME] or not line.endswith(b"\n"):
            self.problem = f"frame {self._frames + 1} begins with {line[:16]!r} instead of FRAME"
            return None
        sizes = [width * height for width, height in header.planes]
        data = self._read(sum(sizes))
        if self._stopped.is_set():
            return None
        if len(data) < sum(sizes):
            self.problem = (
                f"the stream ends inside frame {self._frames + 1}, after {len(data)} of "
                f"{sum(sizes)} bytes"
            )
            return None
        frame = VideoFrame(header.width, header.height, header.pixels)
        frame.color_range = _FULL if header.full_range else _LIMITED
        parts = np.split(np.frombuffer(data, np.uint8), np.cumsum(sizes)[:-1])
        for plane, part, (width, height) in zip(_planes(frame), parts, header.planes, strict=True):
            plane[:height, :width] = part.reshape(height, width)
        return frame

    def _read_line(self) -> bytes:
        """Up to a newline and with it; without one at the end of the stream or past the limit."""
        line = b""
        while len(line) < _MAX_LINE and (byte := self._read(1)):
            line += byte
            if line.endswith(b"\n"):
                break
        return line

    def _read(self, count: int) -> memoryview:
        """As many bytes; fewer at the end of the stream, or if the reader is stopped."""
        view, done = memoryview(bytearray(count)), 0
        while done < count and self._wait():
            try:
                got = self._source.readinto(view[done:])
            except (OSError, ValueError) as error:  # ValueError: it is closed
                raise VideoError(f"the stream cannot be read: {error}") from error
            if got == 0:
                break
            done += got or 0  # None if another program made the pipe non-blocking
        return view[:done]

    def _wait(self) -> bool:
        """Wait for data or the end of the stream; False if the reader is stopped."""
        while not self._stopped.is_set():
            if self._has_data(_CHECK_MS):
                return True
            if self._ask():
                self._stopped.set()
        return False


def encode_frame(frame: VideoFrame, header: Y4mHeader) -> bytes:
    """A frame of the header's size and pixel format, as it lies in a stream."""
    parts = [_FRAME, b"\n"]
    for plane, (width, height) in zip(_planes(frame), header.planes, strict=True):
        parts.append(plane[:height, :width].tobytes())
    return b"".join(parts)


def _planes(frame: VideoFrame) -> Iterator[NDArray[np.uint8]]:
    """Views of the planes; their rows are padded."""
    for plane in frame.planes:
        yield np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)


def _poll_of(source: ByteSource) -> Callable[[int], object]:
    """A function that waits for data, so many milliseconds at most, and tells whether there is any.

    It would overlook what a buffered file object holds already: those are read without waiting.
    """
    if not isinstance(source, io.FileIO):
        return lambda _: True
    poll = select.poll()
    poll.register(source.fileno(), select.POLLIN)
    return poll.poll
