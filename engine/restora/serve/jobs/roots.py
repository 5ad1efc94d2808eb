"""Names of files in requests: NAME/relative/path, only inside folders that the service allows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from restora.errors import ForbiddenError, OptionError

_MOST_CHARACTERS = 1024


class Roots:
    """Folders by name.

    folders: must exist; links in their own paths are resolved once
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = {name: Path(os.path.realpath(folder)) for name, folder in folders.items()}

    def __bool__(self) -> bool:
        return bool(self._folders)

    def resolve(self, name: str) -> Path:
        """The path of NAME/relative/path, which need not exist.

        Raises OptionError for a name that is written otherwise, ForbiddenError for an unknown root,
        and for a path that a link leads out of its root.
        """
        root, *parts = name.split("/")
        while parts and not parts[-1]:
            parts.pop()
        if len(name) > _MOST_CHARACTERS or not all(map(_is_plain, (root, *parts))):
            raise OptionError(
                "a path must be written ROOT/folder/file, without empty parts, . and .., got "
                f"{name[:80]!r}"
            )
        folder = self._folders.get(root)
        if folder is None:
            raise ForbiddenError(
                f"there is no root {root!r}; the service allows {', '.join(self._folders)}"
            )
        path = folder.joinpath(*parts)
        self.require_inside(path)
        return path

    def require_inside(self, path: Path) -> None:
        """Raise ForbiddenError if a link leads a path of a root out of it."""
        for root, folder in self._folders.items():
            if path == folder or folder in path.parents:
                found = Path(os.path.realpath(path))
                if found == folder or folder in found.parents:
                    return
                raise ForbiddenError(f"{self.name_of(str(path))} leads out of {root}")
        raise ForbiddenError(f"{path.name} is in no root")

    def name_of(self, path: str) -> str:
        """NAME/relative/path of a path inside a root; the last part alone of any other."""
        for name, folder in self._folders.items():
            if path == str(folder) or path.startswith(f"{folder}{os.sep}"):
                return name + path[len(str(folder)) :].replace(os.sep, "/")
        return path.rpartition(os.sep)[2]

    def rename(self, text: str) -> str:
        """A message in which paths of roots are replaced by their names."""
        for name, folder in self._folders.items():
            text = text.replace(str(folder), name)
        return text


def _is_plain(part: str) -> bool:
    return bool(part) and part not in (".", "..") and not any(mark in part for mark in "\\\0\n")
