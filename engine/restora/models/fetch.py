"""Download checkpoints: verified, resumable and atomic."""

import contextlib
import errno
import logging
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from restora.atomic import write_atomically
from restora.errors import (
    ChecksumError,
    DiskFullError,
    DownloadError,
    OptionError,
    OutputError,
    RestoraError,
    UnsafePathError,
)
from restora.models.download import Answer, FetchProgress, open_answer
from restora.models.regular_file import open_model_file, shown
from restora.models.store import checkpoint_path, sha256_of
from restora.models.table import ModelEntry, find_entry

logger = logging.getLogger(__name__)

_MAX_BYTES = 4 << 30
_MAX_RECORD_BYTES = 4096
_PARTIAL_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # do not wait for the reader of a pipe
    | getattr(os, "O_BINARY", 0)
)


def fetch_model(model: str | ModelEntry, *, progress: FetchProgress | None = None) -> Path:
    """Download the checkpoint of a model into the model folder, unless it exists.

    progress: called with (downloaded bytes, total bytes, or 0 if the server does not send a length)

    An interrupted download continues where it stopped. Concurrent processes download only once.
    Raises DownloadError, which tells where to put a file that was downloaded otherwise,
    ChecksumError, DiskFullError, UnsafePathError if the target is a link, or OutputError.
    """
    # pooch downloads files whole; with 350 MB checkpoints resuming is what matters, so requests
    # (which pooch uses too) is driven here.
    from filelock import FileLock

    entry = find_entry(model) if isinstance(model, str) else model
    if entry.url is None:
        raise OptionError(f"{entry.name} is bundled with restora; there is nothing to download")
    target = checkpoint_path(entry)
    try:
        _make_folder(target.parent)
        lock = target.with_name(target.name + ".lock")
        _require_plain(lock)  # filelock truncates the file that it opens
        with FileLock(lock):
            if not _is_there(target):
                _download(entry, entry.url, target, progress)
    except (
        OSError,
        NotImplementedError,
    ) as error:  # NotImplementedError: no locks
        if isinstance(error, RestoraError):
            raise
        raise _output_error(f"{target} cannot be written", error) from error
    return target


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the model folder {folder} cannot be made (RESTORA_MODELS chooses another)"
        raise _output_error(message, error) from error


def _is_there(target: Path) -> bool:
    if target.exists() and not target.is_file():
        raise OutputError(f"{target} must be a file or not exist, it is something else: move it")
    return target.exists()


def _download(entry: ModelEntry, url: str, target: Path, progress: FetchProgress | None) -> None:
    partial = target.with_name(target.name + ".part")
    _require_plain(partial)
    have = partial.stat().st_size if partial.exists() else 0
    if have > (entry.size_bytes or _MAX_BYTES):
        partial.unlink()
        have = 0
    if not have or have != entry.size_bytes:  # complete if the process ended before the rename
        try:
            with open_answer(url, have) as answer:
                if not answer.ends_before:
                    _save(entry, answer, partial, progress)
        except DownloadError as error:
            raise DownloadError(
                f"{entry.name} could not be downloaded: {error}. "
                f"Run the command again to continue, or download {url} elsewhere and put it at "
                f"{target}"
            ) from error
        if answer.ends_before:
            partial.unlink()
            raise DownloadError(
                f"{url} is shorter than the {have} bytes of {entry.name} downloaded so far; they "
                "were deleted: run the command again"
            )
    _publish(entry, partial, target)


def _save(entry: ModelEntry, answer: Answer, partial: Path, progress: FetchProgress | None) -> None:
    limit = entry.size_bytes or _MAX_BYTES
    done = answer.start
    total = done + answer.length if answer.length else entry.size_bytes or 0
    if total > limit:
        partial.unlink(missing_ok=True)
        raise ChecksumError(f"{entry.file} must be {limit} bytes at most, the server has {total}")
    if entry.size_bytes and total != entry.size_bytes:
        raise DownloadError(
            f"{entry.file} must have {entry.size_bytes} bytes, the server has {total}: it may be "
            "the page of a proxy or a login page"
        )
    with _open_partial(partial, answer.start) as stream:
        for chunk in answer.chunks():
            stream.write(chunk)
            done += len(chunk)
            if done > limit:
                partial.unlink()
                raise ChecksumError(
                    f"{entry.file} must be {limit} bytes at most, the server sends more"
                )
            if progress is not None:
                progress(done, total)
        stream.flush()
        os.fsync(stream.fileno())
    if answer.length and done < total:
        raise DownloadError(f"the connection ended after {done} of {total} bytes")


def _open_partial(partial: Path, start: int) -> BinaryIO:
    """Open a file to write from byte `start`, safely if it has become a link in the meantime."""
    descriptor = os.open(partial, _PARTIAL_FLAGS, 0o666)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise _unsafe(partial)
        os.ftruncate(descriptor, start)
        os.lseek(descriptor, start, os.SEEK_SET)
        return os.fdopen(descriptor, "wb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_plain(path: Path) -> None:
    """Raise UnsafePathError if `path` exists and is not a regular file with a single name."""
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise _unsafe(path)


def _unsafe(path: Path) -> UnsafePathError:
    return UnsafePathError(
        f"{path} is a link or no file; downloads are written to plain files only: remove it"
    )


def _publish(entry: ModelEntry, partial: Path, target: Path) -> None:
    found = sha256_of(partial)
    if entry.sha256 is not None and found != entry.sha256:
        partial.unlink()
        raise ChecksumError(
            f"{entry.file} must have the SHA-256 {entry.sha256}, the download has {found} and was "
            "deleted"
        )
    if entry.sha256 is None:
        _compare_with_record(entry, found, partial, target.with_name(target.name + ".sha256"))
    partial.replace(target)


def _compare_with_record(entry: ModelEntry, found: str, partial: Path, record: Path) -> None:
    """Compare a file without a published digest with the digest of its first download."""
    if not record.exists():
        write_atomically(record, f"{found}  {entry.file}\n".encode())
        logger.warning(
            "the SHA-256 of %s is not known; %s is recorded for later downloads", entry.file, found
        )
        return
    with open_model_file(
        record, what="record", error=ChecksumError, max_bytes=_MAX_RECORD_BYTES
    ) as stream:
        first = stream.read().decode("ascii", "replace").split(maxsplit=1)[:1]
    if not first or not re.fullmatch("[0-9a-f]{64}", first[0]):
        raise ChecksumError(
            f"{record} must contain the SHA-256 of {entry.file}, it does not: delete it to trust "
            f"the download, which has {found}"
        )
    if first[0] != found:
        partial.unlink()
        raise ChecksumError(
            f"{entry.file} is not the file of the first download: it must have the SHA-256 "
            f"{first[0]}, it has {found}"
        )


def _output_error(message: str, error: Exception) -> OutputError:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return (DiskFullError if full else OutputError)(f"{shown(message)}: {reason}")
