"""Read pictures in processes of their own: a hostile file costs bounded memory and time, and no
crash of a decoder reaches the caller.

Decoders are kept for the next picture. restora's runs over photos read every one this way; a
program that trusts its files can call read_photo instead.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from restora.child import Child
from restora.errors import (
    DecoderProcessError,
    DecodeTimeoutError,
    MemoryLimitError,
    RestoraError,
    TruncatedImageError,
)
from restora.image.decoder import Answer, Probes, Request, error_from
from restora.image.limits import PhotoLimits
from restora.image.photo import Photo, Pixels
from restora.image.probe import PhotoHeader

logger = logging.getLogger(__name__)

_MAX_IDLE = 16
_STARTS = 3
_PROBES = 32  # headers of one request
_FUNCTION = "restora.image.decoder:serve"
# libraries that decoding does not use would start a thread for each core
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def read_isolated(
    source: Path | str | bytes, *, limits: PhotoLimits | None = None, name: str | None = None
) -> Photo:
    """read_photo in a child process.

    source: a path, or the bytes of a file, which travel through a pipe
    name: of the file in messages, if the path is of no use to their reader; None: the path

    Raises ImageError as read_photo does; DecodeTimeoutError past limits.max_decode_s,
    MemoryLimitError if decoding takes far more memory than the header explains, TruncatedImageError
    if the decoder crashes; DecoderProcessError if no child process can be started.
    """
    photo = _ask("read", source, limits, name)
    assert isinstance(photo, Photo)
    return photo


def probe_isolated(
    source: Path | str | bytes, *, limits: PhotoLimits | None = None, name: str | None = None
) -> PhotoHeader:
    """probe_file in a child process; arguments and errors as read_isolated."""
    header = _ask("probe", source, limits, name)
    assert isinstance(header, PhotoHeader)
    return header


def probe_all_isolated(
    paths: Sequence[Path | str], *, limits: PhotoLimits | None = None
) -> list[PhotoHeader | None]:
    """The header of each file, or None if probe_isolated would raise an error for it. A decoder
    reads many of them at a request: where a file ends or stops it, each is asked for alone."""
    found: list[PhotoHeader | None] = []
    for start in range(0, len(paths), _PROBES):
        found += _probe_some(paths[start : start + _PROBES], limits or PhotoLimits())
    return found


def start_decoder() -> None:
    """Start a decoder now, so that the first picture does not wait for it. Raises
    DecoderProcessError."""
    with _idle.lock:
        if _idle.decoders:
            return
    _give_back(_Decoder())


class _Decoder:
    """One child process."""

    def __init__(self) -> None:
        self._child = Child(_FUNCTION, environment=_ENVIRONMENT)
        self.process = self._child.process
        self.connection = self._child.connection

    def ask(self, request: Request | Probes) -> Any:
        """The answer to a request; None if it is dead and the request was not begun."""
        try:
            self.connection.send(request)
            if self.connection.recv() != "begun":
                return None
        except (EOFError, OSError):
            return None
        if not self.connection.poll(request.limits.max_decode_s):
            raise DecodeTimeoutError(
                f"{request.name} takes longer than {request.limits.max_decode_s:g} s to decode: "
                "raise max_decode_s (--decode-timeout) if the file can be trusted"
            )
        return self.connection.recv()

    def receive(self, dtype: str, shape: tuple[int, ...]) -> Pixels:
        # not by recv_bytes, which copies the pixels once more
        array: Pixels = np.empty(shape, dtype)
        view, descriptor = array.reshape(-1).view(np.uint8).data, self.connection.fileno()
        while view:
            count = os.readv(descriptor, [view])
            if not count:
                raise EOFError
            view = view[count:]
        return array

    def end(self) -> int:
        """Kill it; returns its exit status."""
        return self._child.kill()


class _Idle:
    """Decoders that wait for a picture."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.decoders: list[_Decoder] = []

    def close(self) -> None:
        with self.lock:
            while self.decoders:
                self.decoders.pop().end()

    def forget(self) -> None:
        """In a forked process: they belong to the parent."""
        self.lock = threading.Lock()
        self.decoders = []


_idle = _Idle()
atexit.register(_idle.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.forget)


def _probe_some(paths: Sequence[Path | str], limits: PhotoLimits) -> list[PhotoHeader | None]:
    requests = tuple(_request("probe", path, limits) for path in paths)
    with contextlib.suppress(RestoraError), _borrowed("a picture") as decoder:
        answer = decoder.ask(Probes(requests, limits, "a picture"))
        if answer is not None:
            headers: list[PhotoHeader | None] = answer
            return headers
        decoder.end()
    return [_probe_or_none(path, limits) for path in paths]


def _probe_or_none(path: Path | str, limits: PhotoLimits) -> PhotoHeader | None:
    try:
        return probe_isolated(path, limits=limits)
    except RestoraError:
        return None


def _request(
    what: Literal["read", "probe"],
    source: Path | str | bytes,
    limits: PhotoLimits,
    name: str | None = None,
) -> Request:
    if isinstance(source, bytes):
        return Request(what, "", name or "image", limits, source)
    # a path is made absolute here: the child's working directory may be another
    return Request(what, os.path.abspath(source), name or str(source), limits)  # noqa: PTH100


def _ask(
    what: Literal["read", "probe"],
    source: Path | str | bytes,
    limits: PhotoLimits | None,
    name: str | None = None,
) -> Photo | PhotoHeader:
    request = _request(what, source, limits or PhotoLimits(), name)
    for _ in range(_STARTS):
        with _borrowed(request.name) as decoder:
            answer = decoder.ask(request)
            if answer is None:
                decoder.end()
                continue
            assert isinstance(answer, Answer)
            arrays = [decoder.receive(*array) for array in answer.arrays]
            if answer.worn:
                decoder.end()
        return _result(answer, arrays)
    raise DecoderProcessError("processes that decode end before they begin: see `restora doctor`")


def _result(answer: Answer, arrays: list[Pixels]) -> Photo | PhotoHeader:
    for name, level, message in answer.log:
        logging.getLogger(name).log(level, "%s", message)
    if answer.error is not None:
        raise error_from(*answer.error)
    if answer.header is not None:
        return answer.header
    assert answer.metadata is not None
    alpha = arrays[1] if len(arrays) > 1 else None
    return Photo(arrays[0], alpha, answer.metadata, answer.format)


@contextmanager
def _borrowed(name: str) -> Iterator[_Decoder]:
    """A decoder for one request; it is given back if it lives, and ended if anything is raised."""
    with _idle.lock:
        decoder = _idle.decoders.pop() if _idle.decoders else None
    if decoder is None:
        decoder = _Decoder()
    try:
        yield decoder
    except (EOFError, OSError) as error:
        raise _death(name, decoder.end()) from error
    except BaseException:
        decoder.end()
        raise
    _give_back(decoder)


def _give_back(decoder: _Decoder) -> None:
    with _idle.lock:
        if decoder.process.returncode is None and len(_idle.decoders) < _MAX_IDLE:
            _idle.decoders.append(decoder)
            return
    if decoder.process.returncode is None:
        decoder.end()


def _death(name: str, status: int) -> MemoryLimitError | TruncatedImageError:
    if status == -signal.SIGKILL:
        return MemoryLimitError(f"{name}: its decoder was killed, as if memory were full")
    return TruncatedImageError(f"{name} is damaged: its decoder crashed (exit status {status})")
