"""Tell whether two paths mean the same file, on any file system."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from restora.errors import OptionError

Key = tuple[str, str]


def fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


class PathKeys:
    """Keys that are equal if two paths are the same file: the folder with links resolved, and the
    name, both case-folded. Each folder is resolved once."""

    def __init__(self) -> None:
        self._folders: dict[Path, tuple[str, str]] = {}

    def of(self, path: Path) -> Key:
        return self._resolved(path.parent)[1], fold(path.name)

    def folder_of(self, path: Path) -> str:
        """The folder with links resolved."""
        return self._resolved(path.parent)[0]

    def _resolved(self, folder: Path) -> tuple[str, str]:
        if folder not in self._folders:
            real = os.path.realpath(folder)
            self._folders[folder] = real, fold(real)
        return self._folders[folder]


class GuardedInputs:
    """The inputs of a run, by path and by device and inode."""

    def __init__(self, inputs: Iterable[Path], keys: PathKeys) -> None:
        self._keys = keys
        self._by_file: dict[tuple[int, int], Path] = {}
        self._by_path: dict[tuple[str, str], Path] = {}
        self.keys: set[Key] = set()
        for path in inputs:
            self.keys.add(keys.of(path))
            self._by_path[keys.folder_of(path), path.name] = path
            identity = _identity(path)
            if identity is not None:
                self._by_file.setdefault(identity, path)

    def holds(self, path: Path) -> bool:
        return self._find(path) is not None

    def require_free(self, path: Path, source: Path) -> None:
        found = self._find(path)
        if found is None:
            return
        if found == source or _identity(found) == _identity(source):
            raise OptionError(
                f"{source} would be overwritten by its own result: give another output folder or "
                "a --suffix"
            )
        raise OptionError(
            f"{found} would be overwritten by the result of {source}: give another output folder "
            "or a --suffix"
        )

    def _find(self, path: Path) -> Path | None:
        identity = _identity(path)
        if identity is not None and identity in self._by_file:
            return self._by_file[identity]
        return self._by_path.get((self._keys.folder_of(path), path.name))


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode: the same for all links to a file; None if there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def folder_keys(root: Path, folders: Iterable[Path], keys: PathKeys) -> set[Key]:
    """The keys of these folders in `root` and of their parents: no file can have their names."""
    every = {part for folder in folders for part in (folder, *folder.parents)}
    return {keys.of(root / folder) for folder in every if folder != Path()}
