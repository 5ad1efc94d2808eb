"""The process that decodes pictures for restora.image.isolated, one at a time, in bounded memory.

It is started as a fresh interpreter, answers requests over a socket until that is closed, and
limits its own address space by what each picture's header says.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import signal
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from restora import errors
from restora.errors import ImageError, RestoraError
from restora.image.decode import decode_photo
from restora.image.file import open_file, read_up_to
from restora.image.guard import file_errors
from restora.image.header import find_webp_size, use_one_thread
from restora.image.limits import PhotoLimits
from restora.image.photo import Metadata, Photo, Pixels
from restora.image.probe import PhotoHeader, probe_file, probe_photo
from restora.malloc import return_freed_memory

# so many times its pixels and its file: what decoders hold at once, measured over all formats
_PIXEL_COPIES, FILE_COPIES = 6, 3
SLACK_BYTES = 64 << 20
_CANVAS_BYTES, _CANVAS_COPIES = 32, 8  # two pictures of four bytes a pixel
_COLLECTED_BYTES = 1 << 20
_WORN_BYTES = 256 << 20
_STATM = Path("/proc/self/statm")
_STATM_BYTES = 128


class Request(NamedTuple):
    """path: absolute; name: of the file in messages; data: its bytes, in place of a path"""

    what: Literal["read", "probe"]
    path: str
    name: str
    limits: PhotoLimits
    data: bytes | None = None


class Probes(NamedTuple):
    """Several requests for headers at once; the answer is a list with a header, or None for a file
    that cannot be read, for each."""

    requests: tuple[Request, ...]
    limits: PhotoLimits
    name: str


class Answer(NamedTuple):
    """The answer to a request.

    error: type and message
    arrays: dtype and shape of each; their bytes follow, without a frame around them
    log: logger, level and message of each warning
    worn: the process holds on to memory and should be replaced
    """

    error: tuple[str, str] | None
    header: PhotoHeader | None
    metadata: Metadata | None
    format: str | None
    arrays: tuple[tuple[str, tuple[int, ...]], ...]
    log: tuple[tuple[str, int, str], ...]
    worn: bool


def decode_bytes(header: PhotoHeader) -> int:
    """Most memory in bytes that decoding a picture may take, a constant left out."""
    pixel = max(4, header.channels * header.bits // 8)
    pixels = header.width * header.height * pixel
    return _PIXEL_COPIES * pixels + FILE_COPIES * header.file_bytes


def serve(connection: Connection[Any, Any]) -> None:
    """Answer requests until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    return_freed_memory()
    use_one_thread()
    log = _Log()
    logging.basicConfig(level=logging.WARNING, handlers=[log], force=True)
    gc.freeze()
    started = _address_space()
    while True:
        try:
            request: Request | Probes = connection.recv()
        except (EOFError, OSError):
            return
        connection.send("begun")
        if isinstance(request, Probes):
            connection.send([_header_or_none(each) for each in request.requests])
            _limit(None)
            log.take()  # the same warnings follow when the pictures are read
            if _address_space() - started > _WORN_BYTES:
                return
            continue
        result = _answer(request)
        _limit(None)
        photo = result if isinstance(result, Photo) else None
        arrays = [] if photo is None else [photo.pixels]
        arrays += [] if photo is None or photo.alpha is None else [photo.alpha]
        answer = Answer(
            (type(result).__name__, str(result)) if isinstance(result, Exception) else None,
            result if isinstance(result, PhotoHeader) else None,
            None if photo is None else photo.metadata,
            None if photo is None else photo.format,
            tuple((array.dtype.str, array.shape) for array in arrays),
            log.take(),
            _address_space() - started > _WORN_BYTES + sum(array.nbytes for array in arrays),
        )
        connection.send(answer)
        for array in arrays:
            _write_all(connection.fileno(), array)
        large = any(array.nbytes > _COLLECTED_BYTES for array in arrays)
        del result, photo, arrays
        if large or answer.format == "TIFF":
            gc.collect()  # libraries leave pictures in reference cycles


def _header_or_none(request: Request) -> PhotoHeader | None:
    result = _answer(request)
    return result if isinstance(result, PhotoHeader) else None


def _write_all(descriptor: int, array: Pixels) -> None:
    view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    while view:
        view = view[os.write(descriptor, view) :]


def error_from(kind: str, message: str) -> RestoraError:
    """The error that an answer names."""
    found = getattr(errors, kind, RestoraError)
    assert issubclass(found, RestoraError)
    return found(message)


def _answer(request: Request) -> Photo | PhotoHeader | RestoraError:
    limits, name = request.limits, request.name
    try:
        with file_errors(name), _renamed(request):
            data, size = _read(request)
            canvas = _canvas_bytes(data, limits)
            if canvas:
                _limit(FILE_COPIES * size + canvas + SLACK_BYTES)
            if request.what == "probe":
                return _probe(request)
            # decoding finds what is wrong with a header, within the memory of the file alone
            with contextlib.suppress(ImageError):
                header = replace(probe_photo(data, name=name), file_bytes=size)
                if header.width * header.height <= limits.max_pixels:
                    _limit(decode_bytes(header) + SLACK_BYTES)
            return decode_photo(data, limits=limits, name=name)
    except RestoraError as error:
        return error


def _read(request: Request) -> tuple[bytes, int]:
    """The bytes, of which a header needs few, and how many there are; limits the memory first."""
    if request.data is not None:
        _limit(FILE_COPIES * len(request.data) + SLACK_BYTES)
        return request.data, len(request.data)
    with open_file(request.path, request.limits) as (stream, size):
        _limit(FILE_COPIES * size + SLACK_BYTES)
        return read_up_to(stream, size if request.what == "read" else _CANVAS_BYTES), size


def _probe(request: Request) -> PhotoHeader:
    if request.data is None:
        return probe_file(request.path, limits=request.limits)
    header = probe_photo(request.data, name=request.name)
    return replace(header, file_bytes=len(request.data))


@contextlib.contextmanager
def _renamed(request: Request) -> Iterator[None]:
    """Errors name the file as the caller did."""
    try:
        yield
    except ImageError as error:
        if not request.path:
            raise
        raise type(error)(str(error).replace(request.path, request.name)) from None


def _canvas_bytes(data: bytes, limits: PhotoLimits) -> int:
    """What opening a WebP file takes before its header is known."""
    canvas = find_webp_size(data[:_CANVAS_BYTES])
    if canvas is None or canvas[0] * canvas[1] > limits.max_pixels:
        return 0
    return _CANVAS_COPIES * canvas[0] * canvas[1]


def _limit(more: int | None) -> None:
    """Let the address space grow by so many bytes; None: without a limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = resource.RLIM_INFINITY if more is None else _address_space() + more
    if hard != resource.RLIM_INFINITY:
        soft = hard if more is None else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@cache
def _open_statm() -> int | None:
    """A descriptor that is kept: this file is read several times for each picture."""
    try:
        return os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # not Linux
        return None


def _address_space() -> int:
    descriptor = _open_statm()
    if descriptor is None:  # what was the peak serves as well
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(os.pread(descriptor, _STATM_BYTES, 0).split()[0]) * resource.getpagesize()


class _Log(logging.Handler):
    """Keeps warnings of restora's own until they are sent."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("restora"):
            self._rows.append((record.name, record.levelno, record.getMessage()))

    def take(self) -> tuple[tuple[str, int, str], ...]:
        rows, self._rows = tuple(self._rows), []
        return rows
