"""Plan a run: which files are restored, and where each result goes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from restora.errors import (
    ImageError,
    NotAFileError,
    OptionError,
    RestoraError,
    UnsupportedImageError,
)
from restora.image import PhotoHeader, PhotoLimits, sniff_file
from restora.image.isolated import probe_isolated
from restora.jobs.extras import Extras
from restora.jobs.files import Stamp, fingerprint
from restora.jobs.names import Source, name_outputs

Ext = Literal["auto", "jpg", "png", "webp", "tiff"]
RESULT_FORMATS: dict[str, Ext] = {
    ".jpg": "jpg", ".jpeg": "jpg", ".jpe": "jpg", ".png": "png", ".webp": "webp", ".tif": "tiff",
    ".tiff": "tiff",
}  # fmt: skip
PICTURE_SUFFIXES = {*RESULT_FORMATS, ".bmp", ".gif", ".ppm", ".pgm", ".pnm", ".avif", ".heic"}
# what cameras write: a TIFF inside, whose first picture is a thumbnail
RAW_SUFFIXES = {
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef",
    ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
    ".srw", ".x3f",
}  # fmt: skip
_OTHER_PICTURES = {
    ".apng", ".dds", ".dib", ".exr", ".hdr", ".heif", ".hif", ".j2k", ".jfif", ".jif", ".jp2",
    ".jxl", ".jxr", ".pbm", ".pcx", ".psb", ".psd", ".tga", ".xcf",
}  # fmt: skip
_KNOWN_SUFFIXES = PICTURE_SUFFIXES | RAW_SUFFIXES | _OTHER_PICTURES
_WRITTEN_AS: dict[str, Ext] = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file fails without being tried."""

    error_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Job:
    """One input file.

    extras: files that are written beside its result
    skip: why it is skipped, if it is
    failure: why it fails without being tried, if it does
    alone: nothing else may be in flight with it: the process crashed while it was open. crashes:
        how often it was the only open one
    note: reported before the job begins
    header: header of the input, read while it had the stamp `measured`; None: not read, or invalid
    found: stamp of the file in the result's place; None: there is none
    """

    source: Path
    target: Path
    extras: Extras = field(default_factory=Extras)
    skip: str | None = None
    failure: Failure | None = None
    alone: bool = False
    crashes: int = 0
    note: str | None = None
    header: PhotoHeader | None = None
    measured: Stamp | None = None
    found: Stamp | None = None

    @property
    def is_left(self) -> bool:
        """Whether it is to be restored."""
        return self.skip is None and self.failure is None

    @property
    def known_header(self) -> PhotoHeader | None:
        """The header, unless the input changed after it was read."""
        return self.header if fingerprint(self.source) == self.measured else None

    @property
    def pixels(self) -> int:
        """Pixels of the input by its header; 0 if that is not known."""
        return 0 if self.header is None else self.header.width * self.header.height


@dataclass(frozen=True, slots=True)
class Naming:
    """How results are named; see name_outputs."""

    ext: Ext = "auto"
    suffix: str = ""
    compare: bool = False
    save_faces: bool = False


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the first bytes of a file show. ending: suffix of its result; skip, failure: see Job."""

    path: Path
    folder: Path
    ending: str = ".png"
    skip: str | None = None
    failure: Failure | None = None


def plan_jobs(
    source: Path,
    output: Path,
    naming: Naming,
    *,
    recursive: bool = False,
    limits: PhotoLimits | None = None,
    known: Collection[Path] = (),
) -> list[Job]:
    """Make one job per input file, in order of name. No two write the same file, and none writes
    an input.

    output: a file if `source` is one and `output` has a picture's suffix, else a folder
    known: files in `source` that earlier runs wrote, which are no inputs

    Raises OptionError if there is nothing to do, or a result would take the place of an input.
    """
    if not os.path.lexists(source):
        raise OptionError(f"the input must be a file or a folder, {source} does not exist")
    names_file = is_file_name(output)
    if not is_folder(source):
        if names_file and output.suffix.lower() not in RESULT_FORMATS:
            raise OptionError(
                f"the output must end in one of {', '.join(RESULT_FORMATS)}, got {output.name}"
            )
        folder = output.parent if names_file else output
        looked = [look_at(source, Path(), naming.ext, limits)]
        if names_file:
            looked = [replace(looked[0], skip=None)]
        return _name(looked, folder, naming, result=output if names_file else None)
    if names_file:
        raise OptionError(f"{source} is a folder, so the output must be one too, got {output}")
    written = {os.path.realpath(path) for path in known}
    looked = []
    for file, problem in _iter_files(source, recursive=recursive, excluded=output):
        folder = file.parent.relative_to(source)
        if problem is not None:
            looked.append(_Looked(file, folder, failure=problem))
        elif os.path.realpath(file) not in written:
            looked.append(look_at(file, folder, naming.ext, limits))
    if not looked:
        raise OptionError(f"{source} holds no files{_hint(source, recursive)}")
    return _name(looked, output, naming)


def plan_files(
    files: Sequence[Path],
    root: Path,
    output: Path,
    naming: Naming,
    *,
    limits: PhotoLimits | None = None,
) -> list[Job]:
    """Make one job for each of these files, with names relative to `root`; see plan_jobs."""
    looked = [look_at(file, file.parent.relative_to(root), naming.ext, limits) for file in files]
    return _name(looked, output, naming)


def measure(job: Job, limits: PhotoLimits | None = None) -> Job:
    """Add the header of the input, if it is valid. A decoder process reads it."""
    stamp = fingerprint(job.source)
    try:
        header = probe_isolated(job.source, limits=limits)
    except RestoraError:  # raised again when the photo is read
        return job
    return replace(job, header=header, measured=stamp)


def require_free(jobs: Sequence[Job]) -> None:
    """Raise OptionError if a file exists that one of these jobs would replace."""
    for job in jobs:
        for path in (job.target, *job.extras.existing()):
            if job.is_left and os.path.lexists(path):
                raise OptionError(f"{path} exists already: give --overwrite to replace it")


def is_file_name(output: Path) -> bool:
    """Whether an output path means a file, not a folder."""
    return output.suffix.lower() in PICTURE_SUFFIXES and not is_folder(output)


def is_folder(path: Path) -> bool:
    """False also for a path that cannot be examined: too long, or in a folder without access."""
    try:
        return path.is_dir()
    except OSError:
        return False


def look_at(file: Path, folder: Path, ext: Ext, limits: PhotoLimits | None = None) -> _Looked:
    """Identify an input by its first bytes; no parser runs. An error here occurs again when the
    input is read, and is reported then.

    folder: folder of the result, relative to the output folder
    """
    suffix = file.suffix.lower()
    kind, skip = None, None
    try:
        kind = sniff_file(file, limits=limits)
    except NotAFileError:
        pass
    except Exception:  # noqa: BLE001
        skip = "not a picture" if suffix not in _KNOWN_SUFFIXES else None
    failure = None
    if suffix in RAW_SUFFIXES and kind in (None, "TIFF"):
        reason = f"{file} is a camera's raw file, which restora does not read: develop it first"
        failure = Failure(UnsupportedImageError.__name__, reason)
    format_ = ext if ext != "auto" else _WRITTEN_AS.get(kind or "")
    if format_ is None:
        format_ = "png" if kind else RESULT_FORMATS.get(suffix, "png")
    # the user's spelling is kept: .jpeg stays .jpeg
    ending = suffix if RESULT_FORMATS.get(suffix) == format_ else f".{format_}"
    return _Looked(file, folder, ending, skip, failure)


def _name(
    looked: Sequence[_Looked], root: Path, naming: Naming, *, result: Path | None = None
) -> list[Job]:
    named = [entry for entry in looked if entry.skip is None]
    outputs = name_outputs(
        [Source(entry.path, entry.folder, entry.ending) for entry in named],
        root,
        inputs=[entry.path for entry in looked],
        suffix=naming.suffix,
        compare=naming.compare,
        save_faces=naming.save_faces,
        result=result,
    )
    by_path = dict(zip((entry.path for entry in named), outputs, strict=True))
    jobs = []
    for entry in looked:
        chosen = by_path.get(entry.path)
        target = root / entry.folder / entry.path.name if chosen is None else chosen.result
        extras = Extras() if chosen is None else chosen.extras
        found = fingerprint(target) if os.path.lexists(target) else None
        jobs.append(Job(entry.path, target, extras, entry.skip, entry.failure, found=found))
    return jobs


def _iter_files(
    folder: Path, *, recursive: bool, excluded: Path
) -> Iterator[tuple[Path, Failure | None]]:
    """Yield files in order of name, without hidden ones and the output folder; and folders that
    cannot be listed, with the reason."""
    left = [folder]
    while left:
        entry = left.pop()
        if entry != folder and not _is_real_folder(entry):
            yield entry, None
            continue
        try:
            entries = sorted(entry.iterdir(), reverse=True)
        except OSError as error:
            reason = f"{entry} cannot be listed: {error.strerror or error}"
            if entry == folder:
                raise OptionError(reason) from error
            yield entry, Failure(ImageError.__name__, reason)
            continue
        for found in entries:
            if found.name.startswith("."):
                continue
            if is_folder(found):
                if recursive and _is_real_folder(found) and not _is_same(found, excluded):
                    left.append(found)
            else:
                left.append(found)


def _is_real_folder(path: Path) -> bool:
    return is_folder(path) and not path.is_symlink()


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _hint(folder: Path, recursive: bool) -> str:
    if recursive or not any(is_folder(entry) for entry in folder.iterdir()):
        return ""
    return ", only folders: --recursive (-r) goes into them"
