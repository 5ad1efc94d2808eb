"""Plan a run: which files are restored, and where each result goes."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from restora.errors import OptionError
from restora.image import PhotoHeader, PhotoLimits
from restora.image.isolated import probe_all_isolated
from restora.jobs.disk import Stamp, fingerprint, found_at, is_folder
from restora.jobs.extras import Extras
from restora.jobs.inputs import (
    RESULT_FORMATS,
    Ext,
    Failure,
    InputFile,
    hint_of_subfolders,
    identify,
    is_file_name,
    iter_files,
)
from restora.jobs.names import Source, name_outputs

_MEASURE_S = 5.0  # nothing is restored while headers are read


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
    save_mask: bool = False


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
        found = [identify(source, Path(), naming.ext, limits)]
        if names_file:
            found = [replace(found[0], skip=None)]
        return _name(found, folder, naming, result=output if names_file else None)
    if names_file:
        raise OptionError(f"{source} is a folder, so the output must be one too, got {output}")
    written = {os.path.realpath(path) for path in known}
    found = []
    for file, problem in iter_files(source, recursive=recursive, excluded=output):
        folder = file.parent.relative_to(source)
        if problem is not None:
            found.append(InputFile(file, folder, failure=problem))
        elif not written or _real_path(file) not in written:
            found.append(identify(file, folder, naming.ext, limits))
    if not found:
        raise OptionError(f"{source} holds no files{hint_of_subfolders(source, recursive)}")
    return _name(found, output, naming)


def _real_path(path: Path) -> str:
    """The path without links, or the path itself where a link may not be read."""
    try:
        return os.path.realpath(path)
    except OSError:  # a link of another process in /proc
        return os.path.abspath(path)  # noqa: PTH100


def plan_files(
    files: Sequence[Path],
    root: Path,
    output: Path,
    naming: Naming,
    *,
    limits: PhotoLimits | None = None,
) -> list[Job]:
    """Make one job for each of these files, with names relative to `root`; see plan_jobs."""
    found = [identify(file, file.parent.relative_to(root), naming.ext, limits) for file in files]
    return _name(found, output, naming)


def measure(jobs: Sequence[Job], limits: PhotoLimits | None = None) -> list[Job]:
    """Add the header of each input that is left, if it is valid and read in seconds. A decoder
    process reads it."""
    limits = limits or PhotoLimits()
    limits = replace(limits, max_decode_s=min(limits.max_decode_s, _MEASURE_S))
    left = {job.source: fingerprint(job.source) for job in jobs if job.is_left}
    headers = dict(zip(left, probe_all_isolated(list(left), limits=limits), strict=True))
    measured = []
    for job in jobs:
        header = headers.get(job.source)
        if header is not None:  # without one the error is raised when the photo is read
            job = replace(job, header=header, measured=left[job.source])
        measured.append(job)
    return measured


def require_free(jobs: Sequence[Job]) -> None:
    """Raise OptionError if a file exists that one of these jobs would replace."""
    for job in jobs:
        for path in (job.target, *job.extras.existing()):
            if job.is_left and os.path.lexists(path):
                raise OptionError(f"{path} exists already: give --overwrite to replace it")


def _name(
    files: Sequence[InputFile], root: Path, naming: Naming, *, result: Path | None = None
) -> list[Job]:
    named = [entry for entry in files if entry.skip is None]
    outputs = name_outputs(
        [Source(entry.path, entry.folder, entry.ending) for entry in named],
        root,
        inputs=[entry.path for entry in files],
        suffix=naming.suffix,
        compare=naming.compare,
        save_faces=naming.save_faces,
        save_mask=naming.save_mask,
        result=result,
    )
    by_path = dict(zip((entry.path for entry in named), outputs, strict=True))
    jobs = []
    for entry in files:
        chosen = by_path.get(entry.path)
        target = root / entry.folder / entry.path.name if chosen is None else chosen.result
        extras = Extras() if chosen is None else chosen.extras
        found = found_at(target)
        jobs.append(Job(entry.path, target, extras, entry.skip, entry.failure, found=found))
    return jobs
