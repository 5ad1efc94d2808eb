"""Download one file: verified, resumable and atomic."""

import contextlib
import errno
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from restora.atomic import write_atomically
from restora.errors import (
    ChecksumError,
    DiskFullError,
    DownloadError,
    OutputError,
    RestoraError,
    UnsafePathError,
)
from restora.models.download import Answer, FetchProgress, open_answer, without_login
from restora.models.regular_file import open_model_file, shown
from restora.models.store import sha256_of

logger = logging.getLogger(__name__)

_MAX_RECORD_BYTES = 4096
_PARTIAL_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # do not wait for the reader of a pipe
    | getattr(os, "O_BINARY", 0)
)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to download.

    model: name of the model, for messages
    sha256, size_bytes: None if they are not on record
    by_hand: what to do with a file that was downloaded otherwise; None: put it at the target
    certificates: a file or folder of certificates for the server; None: those of requests
    max_bytes: of a file whose size is not on record
    """

    model: str
    url: str
    file: str
    sha256: str | None = None
    size_bytes: int | None = None
    by_hand: str | None = None
    certificates: str | None = None
    max_bytes: int = 4 << 30

    @property
    def limit(self) -> int:
        return self.size_bytes or self.max_bytes


def download(remote: RemoteFile, target: Path, progress: FetchProgress | None) -> None:
    """Download a file to `target`, which must be locked.

    progress: called with (downloaded bytes, total bytes, or 0 if the server does not send a length)

    An interrupted download continues where it stopped. Raises DownloadError, ChecksumError,
    DiskFullError, UnsafePathError or OutputError.
    """
    partial = target.with_name(target.name + ".part")
    require_plain(partial)
    have = partial.stat().st_size if partial.exists() else 0
    if have > remote.limit:
        partial.unlink()
        have = 0
    if not have or have != remote.size_bytes:  # complete if the process ended before the rename
        try:
            with open_answer(remote.url, have, certificates=remote.certificates) as answer:
                if not answer.ends_before:
                    _save(remote, answer, partial, progress)
        except DownloadError as error:
            raise DownloadError(
                f"{remote.model} could not be downloaded: {error}. "
                f"Run the command again to continue, or download {without_login(remote.url)} "
                f"elsewhere and {remote.by_hand or f'put it at {target}'}"
            ) from error
        if answer.ends_before:
            partial.unlink()
            raise DownloadError(
                f"{without_login(remote.url)} is shorter than the {have} bytes of {remote.model} "
                "downloaded so far; they were deleted: run the command again"
            )
    _publish(remote, partial, target)


def _save(
    remote: RemoteFile, answer: Answer, partial: Path, progress: FetchProgress | None
) -> None:
    limit = remote.limit
    done = answer.start
    total = done + answer.length if answer.length else remote.size_bytes or 0
    if total > limit:
        partial.unlink(missing_ok=True)
        raise ChecksumError(f"{remote.file} must be {limit} bytes at most, the server has {total}")
    if remote.size_bytes and total != remote.size_bytes:
        raise DownloadError(
            f"{remote.file} must have {remote.size_bytes} bytes, the server has {total}: it may be "
            "the page of a proxy or a login page"
        )
    with _open_partial(partial, answer.start) as stream:
        for chunk in answer.chunks():
            stream.write(chunk)
            done += len(chunk)
            if done > limit:
                partial.unlink()
                raise ChecksumError(
                    f"{remote.file} must be {limit} bytes at most, the server sends more"
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


def require_plain(path: Path) -> None:
    """Raise UnsafePathError if `path` exists and is not a regular file with a single name."""
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise _unsafe(path)


def _unsafe(path: Path) -> UnsafePathError:
    return UnsafePathError(
        f"{path} is a link or no file; downloads are written to plain files only: remove it"
    )


def _publish(remote: RemoteFile, partial: Path, target: Path) -> None:
    found = sha256_of(partial)
    if remote.sha256 is not None and found != remote.sha256:
        partial.unlink()
        raise ChecksumError(
            f"{remote.file} must have the SHA-256 {remote.sha256}, the download has {found} and "
            "was deleted"
        )
    if remote.sha256 is None:
        _compare_with_record(remote, found, partial, target.with_name(target.name + ".sha256"))
    partial.replace(target)


def _compare_with_record(remote: RemoteFile, found: str, partial: Path, record: Path) -> None:
    """Compare a file without a published digest with the digest of its first download."""
    if not record.exists():
        write_atomically(record, f"{found}  {remote.file}\n".encode())
        logger.warning(
            "the SHA-256 of %s is not known; %s is recorded for later downloads", remote.file, found
        )
        return
    with open_model_file(
        record, what="record", error=ChecksumError, max_bytes=_MAX_RECORD_BYTES
    ) as stream:
        first = stream.read().decode("ascii", "replace").split(maxsplit=1)[:1]
    if not first or not re.fullmatch("[0-9a-f]{64}", first[0]):
        raise ChecksumError(
            f"{record} must contain the SHA-256 of {remote.file}, it does not: delete it to trust "
            f"the download, which has {found}"
        )
    if first[0] != found:
        partial.unlink()
        raise ChecksumError(
            f"{remote.file} is not the file of the first download: it must have the SHA-256 "
            f"{first[0]}, it has {found}"
        )


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Lock a file of the model folder, make the folder, and turn errors into OutputError."""
    from filelock import FileLock

    try:
        make_folder(target.parent)
        lock = target.with_name(target.name + ".lock")
        require_plain(lock)  # filelock truncates the file that it opens
        with FileLock(lock):
            yield
    except (OSError, NotImplementedError) as error:  # NotImplementedError: no locks
        if isinstance(error, RestoraError):
            raise
        raise _output_error(f"{target} cannot be written", error) from error


def make_folder(folder: Path) -> None:
    """Make the model folder. Raises OutputError or DiskFullError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the model folder {folder} cannot be made (RESTORA_MODELS chooses another)"
        raise _output_error(message, error) from error


def _output_error(message: str, error: Exception) -> OutputError:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return (DiskFullError if full else OutputError)(f"{shown(message)}: {reason}")
