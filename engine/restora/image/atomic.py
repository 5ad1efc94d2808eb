"""Write files whole or not at all."""

import errno
import glob
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from restora.errors import DiskFullError, OutputError, UnsafePathError

_ENDING = ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(
    path: Path | str, data: bytes | Iterable[bytes], *, inside: Path | None = None
) -> None:
    """Write `data` so that `path` holds either what it held before or all of it.

    data    the bytes, or their parts in order
    inside  a folder that the file must lie in after links are resolved

    Raises UnsafePathError if `path` is a link or leaves `inside`, DiskFullError, or OutputError.
    Whatever happens, no partial file stays behind, except after SIGKILL a hidden .part file, which
    remove_partial removes.
    """
    path = Path(path)
    _check_path(path, inside)
    partial = path.with_name(f"{_beginning_of(path)}{secrets.token_hex(4)}{_ENDING}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            try:
                for part in (data,) if isinstance(data, bytes) else data:
                    _write_all(descriptor, part)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(partial, path)  # noqa: PTH105  # tests make the call itself fail
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        kind = DiskFullError if error.errno in _FULL else OutputError
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error


def remove_partial(path: Path) -> None:
    """Remove what killed processes left of their attempts to write `path`. Nobody may be writing
    it."""
    for partial in path.parent.glob(f"{glob.escape(_beginning_of(path))}*{_ENDING}"):
        partial.unlink(missing_ok=True)


def _beginning_of(path: Path) -> str:
    return f".{path.name[:200]}."


def _check_path(path: Path, inside: Path | None) -> None:
    if path.is_symlink():
        raise UnsafePathError(f"{path} is a link; results are written to plain files only")
    if inside is not None:
        folder = path.parent.resolve()
        if not folder.is_relative_to(inside.resolve()):
            raise UnsafePathError(f"{path} would be written outside {inside}: {folder}")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    """Make the rename last through a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # not possible on Windows
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse; the file itself is safe
        pass
    finally:
        os.close(descriptor)
