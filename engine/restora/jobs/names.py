"""Names of all files that a run writes: no two are the same, and none is an input.

Names depend on the inputs and the options only, not on the order of work. Two names that differ
only in case or in Unicode form count as the same on every file system, so that results can be moved
to another one. All files that would share a name get a longer one: first the suffix of the input is
added, then a digest of its path.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from restora.atomic import MOST_NAME_BYTES, shorten
from restora.errors import OptionError
from restora.jobs.extras import FACE_FOLDERS, Extras, FaceNames, stem_of
from restora.jobs.path_keys import GuardedInputs, Key, PathKeys, fold, folder_keys

_DIGITS = (0, 8, 32)  # of the digest that makes a name longer
_ROOM_FOR_INDEX = len("_000000000.png")


@dataclass(frozen=True, slots=True)
class Source:
    """An input whose result needs a name.

    path: the input
    folder: folder of the result, relative to the run's output folder
    ending: suffix of the result, with its dot
    """

    path: Path
    folder: Path
    ending: str


@dataclass(frozen=True, slots=True)
class Outputs:
    """The paths of all files that one input becomes."""

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
    save_mask: bool = False,
    result: Path | None = None,
) -> list[Outputs]:
    """Choose the names of all outputs of a run, in the order of `sources`.

    root: the output folder
    inputs: all files that the run must not write to
    suffix: added to names of results and of restored faces as NAME_SUFFIX
    result: the path of the only result, if the user chose it

    Raises OptionError if a result would take the place of an input: by its path, through links,
    or on a file system that ignores case.
    """
    if any(mark in suffix for mark in "/\\\0"):
        raise OptionError(f"the suffix must be part of a name, got {suffix!r}")
    keys = PathKeys()
    guarded = GuardedInputs(inputs, keys)
    ending = f"_{suffix}" if suffix else ""
    folders = {source.folder for source in sources}
    taken = folder_keys(root, folders, keys)
    if save_faces:
        for name in FACE_FOLDERS:
            taken |= folder_keys(root, {Path(name) / folder for folder in folders}, keys)

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

    def beside(ending: str) -> list[Path | None]:
        def path_of(index: int, level: int) -> Path:
            path = results[index]
            stem = path.stem if not level else f"{path.name}{_digest(sources[index], level)}"
            return path.with_name(_fit(stem, ending))

        paths = _assign(
            len(sources),
            path_of,
            keys,
            lambda path: keys.of(path) in taken or guarded.holds(path),
        )
        taken.update(keys.of(path) for path in paths)
        return list(paths)

    none: list[Path | None] = [None] * len(sources)
    comparisons = beside("_compare.jpg") if compare else none
    masks = beside("_mask.png") if save_mask else none
    faces: list[FaceNames | None] = [None] * len(sources)
    if save_faces:
        faces[:] = _name_faces(sources, results, root, ending, taken | guarded.keys, keys)
    return [
        Outputs(path, Extras(comparison, named, mask))
        for path, comparison, named, mask in zip(results, comparisons, faces, masks, strict=True)
    ]


def _name_faces(
    sources: Sequence[Source],
    results: Sequence[Path],
    root: Path,
    ending: str,
    taken: set[Key],
    keys: PathKeys,
) -> list[FaceNames]:
    """Give the faces of every photo a stem of their own in their folder."""
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
        (folder, stem_of(name, folders[folder])) for folder, name in taken if folder in folders
    }

    def meets(path: Path) -> bool:
        names = chosen[path]
        return any(
            (keys.of(root / name / names.folder / "x")[0], fold(names.stem)) in stems
            for name in FACE_FOLDERS
        )

    return [chosen[path] for path in _assign(len(sources), path_of, keys, meets)]


def _assign(
    count: int,
    name_of: Callable[[int, int], Path],
    keys: PathKeys,
    is_taken: Callable[[Path], bool],
) -> list[Path]:
    """Choose a path for each of `count` outputs: the shortest one that no other output has.

    name_of: the path of an output at a level, 0 .. len(_DIGITS); higher levels are longer
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


def _digest(source: Source, level: int) -> str:
    """Digest of the input's path below the run's folder, the same wherever that folder lies."""
    digits = _DIGITS[level - 1]
    if not digits:
        return ""
    raw = os.fsencode((source.folder / source.path.name).as_posix())
    return f".{hashlib.sha256(raw).hexdigest()[:digits]}"


def _fit(stem: str, ending: str) -> str:
    return shorten(stem, MOST_NAME_BYTES - len(os.fsencode(ending))) + ending
