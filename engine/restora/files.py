"""Files that are written into folders which need not exist yet."""

from __future__ import annotations

from pathlib import Path

from restora.atomic import write_atomically
from restora.errors import OutputError


def write_file(path: Path, data: bytes | str) -> None:
    """Write the whole file or none of it; its folder is made. Raises OutputError."""
    make_folder(path.parent)
    write_atomically(path, data.encode() if isinstance(data, str) else data)


def make_folder(folder: Path) -> None:
    """With the folders above it. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(f"the folder {folder} cannot be made: {reason}") from error
