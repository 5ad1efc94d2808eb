"""The output path of a video: what may be replaced, and the hidden files beside it."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from restora.errors import DiskFullError, OptionError, OutputError, UnsafePathError

_MAX_NAME_BYTES = 240  # file systems allow 255; a dot, a token and an ending are added
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ENDING = ".part"


def require_target(target: Path, source: Path, *, overwrite: bool) -> None:
    """Check that a result may be written to `target`.

    Raises OptionError if it is the source, or exists and `overwrite` is False, UnsafePathError if
    it is a link, OutputError if it is not a regular file or its name cannot be used.
    """
    try:
        status = target.lstat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise write_error(target, error) from error
    if stat.S_ISLNK(status.st_mode):
        raise UnsafePathError(f"{target} is a link; results are written to regular files only")
    if _is_same(status, source):
        raise OptionError("the result would replace its own source: choose another output")
    if not overwrite:
        raise OptionError(f"{target} exists already: give --overwrite to replace it")
    if not stat.S_ISREG(status.st_mode):
        raise OutputError(f"{target} cannot be replaced: it is not a regular file")


def require_writable(target: Path) -> None:
    """Make the folder of the target and check that files can be written there.

    Raises DiskFullError or OutputError if not.
    """
    probe = path_beside(target, f".{secrets.token_hex(4)}{_ENDING}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink(missing_ok=True)  # another run may have removed it
    except (OSError, ValueError) as error:
        raise write_error(target, error) from error


def path_beside(target: Path, ending: str) -> Path:
    """A hidden path in the target's folder, short enough for any file system.

    ending: at most 14 bytes
    """
    raw = os.fsencode(target.name)
    name = target.name if len(raw) <= _MAX_NAME_BYTES else hashlib.sha256(raw).hexdigest()
    return target.with_name(f".{name}{ending}")


@contextmanager
def whole_file(target: Path) -> Iterator[IO[bytes]]:
    """Open a new file that replaces `target` when the body ends without an error, and is removed
    otherwise. No other run may be writing `target`.

    Raises DiskFullError or OutputError if it cannot be created, written or renamed.
    """
    _remove_leftovers(target)
    # a name that cannot be guessed, so that no link can be planted there
    part = path_beside(target, f".{secrets.token_hex(4)}{_ENDING}")
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    except (OSError, ValueError) as error:
        raise write_error(target, error) from error
    try:
        # unbuffered: closing must not write again, and fail again
        with os.fdopen(descriptor, "w+b", buffering=0) as stream:
            yield stream
            try:
                os.fsync(stream.fileno())
            except OSError as error:
                raise write_error(target, error) from error
        try:
            part.replace(target)
        except OSError as error:
            raise write_error(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_error(target: Path, error: BaseException) -> OutputError:
    """The typed error for a failure to write `target`."""
    full = isinstance(error, OSError) and error.errno in _FULL
    reason = getattr(error, "strerror", None) or error  # FFmpeg's errors have it too
    return (DiskFullError if full else OutputError)(f"{target} cannot be written: {reason}")


def _is_same(status: os.stat_result, source: Path) -> bool:
    try:
        return os.path.samestat(status, source.stat())
    except (OSError, ValueError):  # opening the source reports it
        return False


_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows


def _remove_leftovers(target: Path) -> None:
    """Remove files of runs that were killed while they wrote this target."""
    beginning = path_beside(target, ".").name
    for part in target.parent.glob(f"{glob.escape(beginning)}????????{_ENDING}"):
        with contextlib.suppress(OSError):
            part.unlink()
