"""Files that are written beside a result: a comparison, its faces, and a mask of damage."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from restora.atomic import name_of_partial, remove_partial
from restora.jobs.path_keys import fold

FACE_FOLDERS = ("cropped_faces", "restored_faces", "cmp")


@dataclass(frozen=True, slots=True)
class FaceNames:
    """Where the faces of one photo are saved: ROOT/cropped_faces/FOLDER/STEM_00.png and so on.

    suffix: added to the names of restored faces
    """

    root: Path
    folder: Path
    stem: str
    suffix: str = ""

    def paths(self, index: int) -> tuple[Path, Path, Path]:
        """The paths of one face: the crop, the restored crop, and both side by side."""
        crop, restored, both = (self.root / name / self.folder for name in FACE_FOLDERS)
        name = f"{self.stem}_{index:02d}"
        return crop / f"{name}.png", restored / f"{name}{self.suffix}.png", both / f"{name}.png"

    @property
    def endings(self) -> tuple[str, str, str]:
        """What follows the index, in each of the three folders."""
        return ".png", f"{self.suffix}.png", ".png"


class FaceFiles:
    """Saved faces on the disk. Every folder is listed once."""

    def __init__(self) -> None:
        self._by_stem: dict[tuple[Path, str], dict[str, list[Path]]] = {}

    def of(self, names: FaceNames) -> list[Path]:
        """Existing files that a face of a photo would replace, for any number of faces."""
        found: list[Path] = []
        for name, ending in zip(FACE_FOLDERS, names.endings, strict=True):
            folder = names.root / name / names.folder
            if (folder, ending) not in self._by_stem:
                self._by_stem[folder, ending] = _list_by_stem(folder, ending)
            found += self._by_stem[folder, ending].get(fold(names.stem), [])
        return found


@dataclass(frozen=True, slots=True)
class Extras:
    """Paths of the files that are written beside one result."""

    comparison: Path | None = None
    faces: FaceNames | None = None
    mask: Path | None = None

    @property
    def files(self) -> list[Path]:
        """Paths of all files but faces."""
        return [path for path in (self.comparison, self.mask) if path is not None]

    def existing(self, saved: FaceFiles | None = None) -> list[Path]:
        """Existing files that these would replace."""
        found = [] if self.faces is None else (saved or FaceFiles()).of(self.faces)
        return found + [path for path in self.files if os.path.lexists(path)]

    def remove_partial(self) -> None:
        """Remove partial files that killed processes left. No other process may be writing
        these files."""
        for path in self.files:
            remove_partial(path)
        if self.faces is None:
            return
        for name, ending in zip(FACE_FOLDERS, self.faces.endings, strict=True):
            folder = self.faces.root / name / self.faces.folder
            with contextlib.suppress(OSError):  # no folder, so nothing in it
                for path in list(folder.iterdir()):
                    inner = name_of_partial(path.name)
                    if inner and stem_of(inner, ending) == fold(self.faces.stem):
                        remove_partial(folder / inner)

    def written(self, faces: int) -> list[Path]:
        """The files that were written for a photo with so many faces."""
        found = self.files
        if self.faces is not None:
            found += [path for index in range(faces) for path in self.faces.paths(index)]
        return [path for path in found if os.path.lexists(path)]


def _list_by_stem(folder: Path, ending: str) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):  # no folder, so nothing in it
        for path in sorted(folder.iterdir()):
            stem = stem_of(path.name, ending)
            if stem is not None:
                found.setdefault(stem, []).append(path)
    return found


def stem_of(name: str, ending: str) -> str | None:
    """The stem in the file name of a saved face, case-folded; None if the file is no saved face."""
    found = re.fullmatch(rf"(.*)_\d\d+{re.escape(fold(ending))}", fold(name), re.DOTALL)
    return found and found[1]
