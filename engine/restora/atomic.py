"""Write files whole or not at all."""

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from restora.errors import DiskFullError, OutputError, UnsafePathError

_ENDING = ".part"
_TOKEN_BYTES = 4
MOST_NAME_BYTES = 255  # of a file's name, on all common file systems
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
    _require_name(path)
    partial = path.with_name(f"{_beginning_of(path)}{secrets.token_hex(_TOKEN_BYTES)}{_ENDING}")
    try:
        _check_path(path, inside)
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
    except OutputError:
        raise
    except OSError as error:
        kind = DiskFullError if error.errno in _FULL else OutputError
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error


def remove_partial(path: Path) -> None:
    """Remove what killed processes left of their attempts to write `path`, and nothing else. Nobody
    may be writing it."""
    beginning = re.escape(_beginning_of(path))
    pattern = re.compile(f"{beginning}[0-9a-f]{{{2 * _TOKEN_BYTES}}}{re.escape(_ENDING)}")
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:  # no folder, so nothing in it
        return
    for name in names:
        if pattern.fullmatch(name):
            path.with_name(name).unlink(missing_ok=True)


def name_of_partial(name: str) -> str | None:
    """The name that a partial file was to get, as far as it is held in its own; None if `name` is
    not one of a partial file."""
    found = re.fullmatch(
        rf"\.(.+)\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}{re.escape(_ENDING)}", name, re.DOTALL
    )
    return found and found[1]


def shorten(name: str, most_bytes: int = MOST_NAME_BYTES) -> str:
    """The name if it has at most so many bytes, else its beginning and a digest of all of it."""
    raw = os.fsencode(name)
    if len(raw) <= most_bytes:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:16]
    # cut between characters: some file systems take no half ones
    beginning = name[: most_bytes - len(digest) - 1]
    while len(os.fsencode(beginning)) > most_bytes - len(digest) - 1:
        beginning = beginning[:-1]
    return f"{beginning}~{digest}"


def _beginning_of(path: Path) -> str:
    room = MOST_NAME_BYTES - len("..") - 2 * _TOKEN_BYTES - len(_ENDING)
    return f".{shorten(path.name, room)}."


def _require_name(path: Path) -> None:
    """Raise OutputError for what no file can be called."""
    try:
        whole = path.name and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        whole = False
    if not whole:
        raise OutputError(f"{str(path)!r} is no name that a file can have")


def _check_path(path: Path, inside: Path | None) -> None:
    if path.is_symlink():
        raise UnsafePathError(f"{path} is a link; results are written to plain files only")
    if inside is not None and path.parent != inside:
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
