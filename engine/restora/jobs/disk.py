"""Files and folders that runs own, and how files are told apart."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

from restora.errors import DiskFullError, OutputError, UnsafePathError

FOLDER = ".restora"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
Stamp = tuple[int, int]


def fingerprint(path: Path) -> Stamp:
    """Size and modification time of a file, which change when it changes. (-1, 0) if it cannot be
    seen: a link that leads nowhere, a folder that is gone."""
    return stamps_of(path)[0]


def stamps_of(path: Path) -> tuple[Stamp, int | None]:
    """The fingerprint of a file, and when it was last changed or moved there, in nanoseconds, by
    the system's own record; None if it cannot be seen."""
    try:
        status = os.stat(path)  # noqa: PTH116  faster than Path.stat
    except (OSError, ValueError):
        return (-1, 0), None
    return (status.st_size, status.st_mtime_ns), status.st_ctime_ns


def found_at(path: Path) -> Stamp | None:
    """The stamp of what lies in the place of a result; None if nothing does."""
    return fingerprint(path) if os.path.lexists(path) else None


def is_folder(path: Path) -> bool:
    """False also for a path that cannot be examined: too long, or in a folder without access."""
    try:
        return path.is_dir()
    except OSError:
        return False


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def digest_or_none(path: Path) -> str | None:
    """digest_of_file, or None if the file cannot be read."""
    try:
        return digest_of_file(path)
    except OSError:
        return None


def require_own_file(path: Path) -> None:
    """Raise UnsafePathError if writing `path` would write to another file or wait for a reader,
    OutputError if it cannot be seen."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UnsafePathError(f"{path} must be a plain file: remove what is there")
    if status.st_nlink > 1:
        raise UnsafePathError(f"{path} is a hard link to another file: remove it")


def require_own_folder(folder: Path) -> None:
    """Make a folder. `.restora` and folders in it must not be links.

    Raises UnsafePathError, or OutputError if the folder cannot be made.
    """
    try:
        if FOLDER in folder.parts:
            ours = folder.parts.index(FOLDER) + 1
            for depth in range(ours, len(folder.parts) + 1):
                part = Path(*folder.parts[:depth])
                if part.is_symlink():
                    raise UnsafePathError(f"{part} must be a folder, it is a link: remove it")
        folder.mkdir(parents=True, exist_ok=True)
    except OutputError:
        raise
    except ValueError as error:  # a NUL byte
        raise OutputError(f"{folder} cannot be made: {error}") from error
    except OSError as error:
        kind = DiskFullError if error.errno in NO_SPACE else OutputError
        raise kind(f"{folder} cannot be made: {error.strerror or error}") from error


def prepare_folder(target: Path, root: Path | None) -> None:
    """Make the folder of a target, never through a link that leaves `root`.

    Raises UnsafePathError, or OutputError if the folder cannot be made.
    """
    try:
        if root is not None and target.parent != root:
            resolved = target.parent.resolve()
            if not resolved.is_relative_to(root.resolve()):
                raise UnsafePathError(f"{target} would be written outside {root}: {resolved}")
        target.parent.mkdir(parents=True, exist_ok=True)
    except OutputError:
        raise
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        words = error.strerror if isinstance(error, OSError) else None
        raise OutputError(f"{target.parent} cannot be made: {words or error}") from error
