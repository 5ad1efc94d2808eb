"""Names of all files that a run writes: no two are the same, and none is an input.

Names depend on the inputs and the options only, not on the order of work. Two names that differ
only in case or in Unicode form count as the same, whatever the file system says, so that results
can be moved to another one. Where names meet, everyone who wants one gets a longer one: the ending
of its input first, then a digest of its input's path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from restora.atomic import MOST_NAME_BYTES, name_of_partial, remove_partial, shorten
from restora.errors import OptionError

FACE_FOLDERS = ("cropped_faces", "restored_faces", "cmp")
_DIGITS = (0, 8, 32)  # of the digest that makes a name longer
_ROOM_FOR_INDEX = len("_000000000.png")
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """An input whose result needs a name.

    path    of the input
    folder  of the result, from the run's output folder
    ending  of the result, with its dot
    """

    path: Path
    folder: Path
    ending: str


@dataclass(frozen=True, slots=True)
class FaceNames:
    """Where the faces of one photo are saved: ROOT/cropped_faces/FOLDER/STEM_00.png and so on.

    suffix  added to the names of restored faces
    """

    root: Path
    folder: Path
    stem: str
    suffix: str = ""

    def paths(self, index: int) -> tuple[Path, Path, Path]:
        """Of one face: the crop, the restored one, and both side by side."""
        crop, restored, both = (self.root / name / self.folder for name in FACE_FOLDERS)
        name = f"{self.stem}_{index:02d}"
        return crop / f"{name}.png", restored / f"{name}{self.suffix}.png", both / f"{name}.png"

    @property
    def endings(self) -> tuple[str, str, str]:
        """What follows the index, in each of the three folders."""
        return ".png", f"{self.suffix}.png", ".png"


class FaceFiles:
    """Saved faces that lie on the disk. Every folder is listed once."""

    def __init__(self) -> None:
        self._by_stem: dict[tuple[Path, str], dict[str, list[Path]]] = {}

    def of(self, names: FaceNames) -> list[Path]:
        """Files that lie in the place of some face of a photo, whatever its index."""
        found: list[Path] = []
        for name, ending in zip(FACE_FOLDERS, names.endings, strict=True):
            folder = names.root / name / names.folder
            if (folder, ending) not in self._by_stem:
                self._by_stem[folder, ending] = _list_by_stem(folder, ending)
            found += self._by_stem[folder, ending].get(_fold(names.stem), [])
        return found


@dataclass(frozen=True, slots=True)
class Extras:
    """What is written beside one result."""

    comparison: Path | None = None
    faces: FaceNames | None = None

    def existing(self, saved: FaceFiles | None = None) -> list[Path]:
        """Files that lie in its place."""
        found = [] if self.faces is None else (saved or FaceFiles()).of(self.faces)
        if self.comparison is not None and os.path.lexists(self.comparison):
            found.append(self.comparison)
        return found

    def remove_partial(self) -> None:
        """Remove what killed processes left of their attempts to write these. Nobody may be
        writing them."""
        if self.comparison is not None:
            remove_partial(self.comparison)
        if self.faces is None:
            return
        for name, ending in zip(FACE_FOLDERS, self.faces.endings, strict=True):
            folder = self.faces.root / name / self.faces.folder
            with contextlib.suppress(OSError):  # no folder, so nothing in it
                for path in list(folder.iterdir()):
                    inner = name_of_partial(path.name)
                    if inner and _stem_of(inner, ending) == _fold(self.faces.stem):
                        remove_partial(folder / inner)

    def written(self, faces: int) -> list[Path]:
        """Files that were written of a photo with so many faces."""
        found = [] if self.comparison is None else [self.comparison]
        if self.faces is not None:
            found += [path for index in range(faces) for path in self.faces.paths(index)]
        return [path for path in found if os.path.lexists(path)]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that one input becomes."""

    result: Path
    extras: Extras


def name_outputs(
    sources: Sequence[Source],
    root: Path,
    *,
    inputs: Iterable[Path],
    suffix: str = "",
    compare: bool = False,
    save_faces: bool = False,
    result: Path | None = None,
) -> list[Outputs]:
    """Names for all outputs of a run, in the order of `sources`.

    root    the output folder
    inputs  all files that the run must not write to
    suffix  added to names of results and of restored faces as NAME_SUFFIX
    result  the name of the only result, if the user gave one

    Raises OptionError if a result would take the place of an input: by its path, through links,
    or on a file system that ignores case.
    """
    if any(mark in suffix for mark in "/\\\0"):
        raise OptionError(f"the suffix must be part of a name, got {suffix!r}")
    keys = _Keys()
    guarded = _Guarded(inputs, keys)
    ending = f"_{suffix}" if suffix else ""
    folders = {source.folder for source in sources}
    taken = _folder_keys(root, folders, keys)
    if save_faces:
        for name in FACE_FOLDERS:
            taken |= _folder_keys(root, {Path(name) / folder for folder in folders}, keys)

    def result_of(index: int, level: int) -> Path:
        source = sources[index]
        if result is not None:
            return result
        stem = f"{source.path.stem}{ending}"
        if level:
            stem += f"{source.path.suffix}{_digest(source, level)}"
        return root / source.folder / _fit(stem, source.ending)

    results = _assign(len(sources), result_of, keys, lambda path: keys.of(path) in taken)
    for source, path in zip(sources, results, strict=True):
        guarded.require_free(path, source.path)
    taken |= {keys.of(path) for path in results}

    def comparison_of(index: int, level: int) -> Path:
        path = results[index]
        stem = path.stem if not level else f"{path.name}{_digest(sources[index], level)}"
        return path.with_name(_fit(stem, "_compare.jpg"))

    comparisons: list[Path | None] = [None] * len(sources)
    if compare:
        comparisons[:] = _assign(
            len(sources),
            comparison_of,
            keys,
            lambda path: keys.of(path) in taken or guarded.holds(path),
        )
        taken |= {keys.of(path) for path in comparisons if path is not None}
    faces: list[FaceNames | None] = [None] * len(sources)
    if save_faces:
        faces[:] = _name_faces(sources, results, root, ending, taken | guarded.keys, keys)
    return [
        Outputs(path, Extras(comparison, face))
        for path, comparison, face in zip(results, comparisons, faces, strict=True)
    ]


def _name_faces(
    sources: Sequence[Source],
    results: Sequence[Path],
    root: Path,
    ending: str,
    taken: set[Key],
    keys: _Keys,
) -> list[FaceNames]:
    """Every photo's faces have a stem of their own in their folder."""
    chosen: dict[Path, FaceNames] = {}

    def path_of(index: int, level: int) -> Path:
        path = results[index]
        stem = path.stem if not level else f"{path.name}{_digest(sources[index], level)}"
        room = MOST_NAME_BYTES - _ROOM_FOR_INDEX - len(os.fsencode(ending))
        names = FaceNames(root, sources[index].folder, shorten(stem, room), ending)
        path = root / FACE_FOLDERS[0] / names.folder / names.stem
        chosen[path] = names
        return path

    folders = {
        keys.of(root / name / folder / "x")[0]: (".png", f"{ending}.png")[name == FACE_FOLDERS[1]]
        for folder in {source.folder for source in sources}
        for name in FACE_FOLDERS
    }
    stems = {
        (folder, _stem_of(name, folders[folder])) for folder, name in taken if folder in folders
    }

    def meets(path: Path) -> bool:
        names = chosen[path]
        return any(
            (keys.of(root / name / names.folder / "x")[0], _fold(names.stem)) in stems
            for name in FACE_FOLDERS
        )

    return [chosen[path] for path in _assign(len(sources), path_of, keys, meets)]


def _assign(
    count: int,
    name_of: Callable[[int, int], Path],
    keys: _Keys,
    is_taken: Callable[[Path], bool],
) -> list[Path]:
    """A path for each of `count` outputs: the shortest level at which none meets another.

    name_of   the path of an output at a level, 0 .. len(_DIGITS)
    """
    levels = [0] * count
    paths = [name_of(index, 0) for index in range(count)]
    while True:
        counts = Counter(keys.of(path) for path in paths)
        meeting = [
            index for index, path in enumerate(paths) if counts[keys.of(path)] > 1 or is_taken(path)
        ]
        if not meeting:
            return paths
        for index in meeting:
            levels[index] += 1
            if levels[index] > len(_DIGITS):
                raise OptionError(
                    f"no name is free for {paths[index]}: give another output folder or --suffix"
                )
            paths[index] = name_of(index, levels[index])


class _Keys:
    """What tells whether two paths are the same file: folders after links are resolved, and names
    without case. Folders are looked at once."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}

    def of(self, path: Path) -> Key:
        folder = path.parent
        if folder not in self._folders:
            self._folders[folder] = _fold(os.path.realpath(folder))
        return self._folders[folder], _fold(path.name)


class _Guarded:
    """The inputs of a run, by their paths and by what they are on the disk."""

    def __init__(self, inputs: Iterable[Path], keys: _Keys) -> None:
        self._keys = keys
        self._by_file: dict[tuple[int, int], Path] = {}
        self._by_path: dict[tuple[str, str], Path] = {}
        self.keys: set[Key] = set()
        for path in inputs:
            self.keys.add(keys.of(path))
            self._by_path[os.path.realpath(path.parent), path.name] = path
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
        return self._by_path.get((os.path.realpath(path.parent), path.name))


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for all names of a file, links among them; None if there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _folder_keys(root: Path, folders: Iterable[Path], keys: _Keys) -> set[Key]:
    """Of these folders in `root` and the ones that they lie in: no file can have their names."""
    every = {part for folder in folders for part in (folder, *folder.parents)}
    return {keys.of(root / folder) for folder in every if folder != Path()}


def _list_by_stem(folder: Path, ending: str) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):  # no folder, so nothing in it
        for path in sorted(folder.iterdir()):
            stem = _stem_of(path.name, ending)
            if stem is not None:
                found.setdefault(stem, []).append(path)
    return found


def _stem_of(name: str, ending: str) -> str | None:
    """Of a saved face's file name, without case; None if it is not one."""
    found = re.fullmatch(rf"(.*)_\d\d+{re.escape(_fold(ending))}", _fold(name), re.DOTALL)
    return found and found[1]


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _digest(source: Source, level: int) -> str:
    """Of the input's path below the run's folder: the same wherever that folder lies."""
    digits = _DIGITS[level - 1]
    if not digits:
        return ""
    raw = os.fsencode((source.folder / source.path.name).as_posix())
    return f".{hashlib.sha256(raw).hexdigest()[:digits]}"


def _fit(stem: str, ending: str) -> str:
    return shorten(stem, MOST_NAME_BYTES - len(os.fsencode(ending))) + ending
