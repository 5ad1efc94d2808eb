"""Restore one photo from or to a file object, such as standard input or output."""

from __future__ import annotations

import select
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from restora.errors import (
    DiskFullError,
    FileTooLargeError,
    ImageError,
    OptionError,
    OutputError,
    RestoraError,
)
from restora.image import PhotoLimits
from restora.jobs.disk import NO_SPACE
from restora.jobs.inputs import is_file_name
from restora.jobs.options import RunOptions
from restora.jobs.outcome import Outcome
from restora.jobs.photos import restore_photos
from restora.jobs.plan import Job
from restora.jobs.progress import NoProgress, RunProgress
from restora.jobs.result import RunResult
from restora.networks import OpenNetwork
from restora.pipeline import Restorer

_SOURCE, _TARGET = "standard input", "standard output"
_CHUNK_BYTES = 1 << 20


class ByteSource(Protocol):
    """A file object opened in binary mode."""

    def read(self, size: int = ..., /) -> bytes | None: ...

    def fileno(self) -> int: ...


class ByteSink(Protocol):
    """A file object opened in binary mode."""

    def write(self, data: Any, /) -> int | None: ...


def restore_stream(
    source: Path | ByteSource,
    target: Path | ByteSink,
    restorer: Restorer | Callable[..., Restorer],
    *,
    options: RunOptions | None = None,
    progress: RunProgress | None = None,
) -> RunResult:
    """Restore one photo as restore_file does, from or to a file object.

    The photo and its result lie in a private temporary folder meanwhile: it is decoded in a child
    process, and within all limits of `options`, like any file. Nothing is written to `target`
    unless the photo was restored.

    source: the path of a photo, or a file object that holds one, up to its end
    target: the path of the result, or a file object; that gets options.ext, "auto" is PNG
    options: RunOptions; what is written beside a result needs a path as `target`

    A photo that fails becomes a failed outcome. Outcomes, errors and progress call the file objects
    standard input and standard output. Raises FileTooLargeError for a source beyond the limit,
    ImageError if it cannot be read, OutputError if the target or the temporary folder cannot be
    written, OptionError, and what the networks raise.
    """
    options = options or RunOptions()
    _check(source, target, options)
    with _temporary_folder() as folder, _renamed(folder):
        given = source if isinstance(source, Path) else folder / _SOURCE
        if not isinstance(source, Path):
            _spool(source, given, options.limits)
        ext = "png" if options.ext == "auto" else options.ext
        result = target if isinstance(target, Path) else folder / f"{_TARGET}.{ext}"
        reported = _Renaming(progress or NoProgress(), folder)
        run = restore_photos(given, result, restorer, options=options, progress=reported)
        outcomes = tuple(_rename(outcome, folder) for outcome in run.outcomes)
        if not isinstance(target, Path) and result.exists():
            _copy(result, target)
    return replace(run, outcomes=outcomes)


def _check(source: Path | ByteSource, target: Path | ByteSink, options: RunOptions) -> None:
    if isinstance(target, Path):
        if not isinstance(source, Path) and not is_file_name(target):
            raise OptionError(
                f"a photo from standard input has no name: the output must be a file, such as "
                f"restored.png, or standard output, got {target}"
            )
    elif options.compare or options.save_faces or options.save_mask or options.manifest:
        raise OptionError(
            "--compare, --save-faces, --save-mask and --manifest write files beside the result: "
            "they need an output that is a file"
        )


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix="restora-"))
    except OSError as error:
        raise _output_error("the temporary folder", error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _spool(source: ByteSource, path: Path, limits: PhotoLimits) -> None:
    size = 0
    try:
        with path.open("wb") as file:
            while part := _read(source):
                size += len(part)
                if size > limits.max_file_bytes:
                    raise FileTooLargeError(
                        f"{path} holds more than {limits.max_file_bytes} bytes, the limit: raise "
                        "it with max_file_bytes (--max-file-size) if the photo can be trusted"
                    )
                file.write(part)
    except OSError as error:
        raise _output_error("the temporary folder", error) from error


def _read(source: ByteSource) -> bytes:
    try:
        while (part := source.read(_CHUNK_BYTES)) is None:  # a pipe that does not block
            select.select([source], [], [])
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise ImageError(f"{_SOURCE} cannot be read: {error}") from error
    return part


def _copy(path: Path, target: ByteSink) -> None:
    with path.open("rb") as file:
        while part := file.read(_CHUNK_BYTES):
            view = memoryview(part)
            while view:
                try:
                    count = target.write(view)
                except RestoraError:
                    raise
                except (OSError, ValueError) as error:
                    raise _output_error(_TARGET, error) from error
                view = view[len(view) if count is None else count :]


def _output_error(name: str, error: Exception) -> OutputError:
    full = isinstance(error, OSError) and error.errno in NO_SPACE
    reason = getattr(error, "strerror", None) or error
    return (DiskFullError if full else OutputError)(f"{name} cannot be written: {reason}")


def _clean(text: str, folder: Path) -> str:
    """The text without the path of the temporary folder."""
    for ending in ("jpg", "png", "webp", "tiff"):
        text = text.replace(f"{folder}/{_TARGET}.{ending}", _TARGET)
    return text.replace(f"{folder}/", "")


def _rename(outcome: Outcome, folder: Path) -> Outcome:
    reason, face_error = outcome.reason, outcome.face_error
    return replace(
        outcome,
        input=_clean(outcome.input, folder),
        output=_clean(outcome.output, folder),
        reason=None if reason is None else _clean(reason, folder),
        face_error=None if face_error is None else _clean(face_error, folder),
    )


@contextmanager
def _renamed(folder: Path) -> Iterator[None]:
    """Errors with the names of the streams."""
    try:
        yield
    except RestoraError as error:
        if str(folder) not in str(error):
            raise
        raise type(error)(_clean(str(error), folder)) from error


class _Renaming:
    """Passes on what a run reports, with the names of the streams."""

    def __init__(self, inner: RunProgress, folder: Path) -> None:
        self._inner = inner
        self._folder = folder

    def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
        self._inner.begin(networks, jobs)

    def update(self, job: Job, done: int, total: int) -> None:
        self._inner.update(job, done, total)

    def end(self, job: Job, outcome: Outcome) -> None:
        self._inner.end(job, _rename(outcome, self._folder))
