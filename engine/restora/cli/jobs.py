"""Which files are restored, and where each result goes. Decided before any work is done."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from restora.errors import ImageError, OptionError
from restora.image import probe_photo

Ext = Literal["auto", "jpg", "png", "webp", "tiff"]
PICTURE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm",
    ".pnm", ".avif", ".heic",
}  # fmt: skip
_WRITTEN_AS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff"}
_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """One input file. skip: why it is left alone, if it is. alone: nothing else is worked on beside
    it, since the process died `kills` times at it; note: what is said of it before it is done."""

    source: Path
    target: Path
    skip: str | None = None
    alone: bool = False
    kills: int = 0
    note: str | None = None


def plan_jobs(
    source: Path, output: Path, *, ext: Ext, suffix: str, recursive: bool, overwrite: bool
) -> list[Job]:
    """One job per input file, in order of name; no two jobs share a target.

    output  a file if `source` is one and `output` ends like a picture, else a folder

    Raises OptionError if there is nothing to do or an input would be overwritten.
    """
    if not source.exists():
        raise OptionError(f"the input must be a file or a folder, {source} does not exist")
    names_file = output.suffix.lower() in PICTURE_SUFFIXES and not output.is_dir()
    if source.is_dir():
        if names_file:
            raise OptionError(f"{source} is a folder, so the output must be one too, got {output}")
        jobs = [
            _job_in_folder(file, source, output, ext, suffix)
            for file in _iter_files(source, recursive=recursive, excluded=output)
        ]
    elif names_file:
        jobs = [Job(source, output)]
    else:
        jobs = [_job_in_folder(source, source.parent, output, ext, suffix)]
    if not jobs:
        raise OptionError(f"{source} holds no files")
    jobs = _keep_apart(jobs)
    for job in jobs:
        if job.target.exists() and job.source.samefile(job.target):
            raise OptionError(
                f"{job.source} would be overwritten by its own result: give another output "
                "folder or a --suffix"
            )
    return [_skip_finished(job, overwrite) for job in jobs]


def plan_files(files: list[Path], root: Path, output: Path, *, ext: Ext) -> list[Job]:
    """One job for each of these files, named from `root`; no two share a target."""
    return _keep_apart([_job_in_folder(file, root, output, ext, "") for file in files])


def _iter_files(folder: Path, *, recursive: bool, excluded: Path) -> Iterator[Path]:
    """Files in order of name, hidden ones and the output folder left out."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            inside_output = excluded.exists() and entry.samefile(excluded)
            if recursive and not entry.is_symlink() and not inside_output:
                yield from _iter_files(entry, recursive=True, excluded=excluded)
        else:
            yield entry


def _job_in_folder(file: Path, root: Path, output: Path, ext: Ext, suffix: str) -> Job:
    chosen, skip = ext, None
    if ext == "auto":
        kind = _sniff(file)
        chosen = _WRITTEN_AS.get(kind or "", "png")  # type: ignore[assignment]
        if kind is None and file.suffix.lower() not in PICTURE_SUFFIXES:
            skip = "not a picture"
    elif file.suffix.lower() not in PICTURE_SUFFIXES and _sniff(file) is None:
        skip = "not a picture"
    name = f"{file.stem}_{suffix}" if suffix else file.stem
    ending = file.suffix.lower().lstrip(".") if _same_format(file, chosen) else chosen
    return Job(file, output / file.parent.relative_to(root) / f"{name}.{ending}", skip)


def _same_format(file: Path, ext: str) -> bool:
    """Keep the user's spelling: .jpeg stays .jpeg."""
    spellings = {"jpg": {".jpg", ".jpeg", ".jpe"}, "tiff": {".tif", ".tiff"}}
    return file.suffix.lower() in spellings.get(ext, {f".{ext}"})


def _sniff(file: Path) -> str | None:
    """The picture format by content, None if there is none."""
    try:
        with file.open("rb") as stream:
            return probe_photo(stream.read(_HEADER_BYTES)).format
    except (ImageError, OSError):
        return None


def _keep_apart(jobs: list[Job]) -> list[Job]:
    """a.jpg and a.png both becoming a.png: name them a.jpg.png and a.png.png."""
    counts = Counter(job.target for job in jobs)
    return [
        replace(
            job,
            target=job.target.with_name(f"{job.target.stem}{job.source.suffix}{job.target.suffix}"),
        )
        if counts[job.target] > 1
        else job
        for job in jobs
    ]


def _skip_finished(job: Job, overwrite: bool) -> Job:
    if job.skip is None and not overwrite and job.target.exists() and not job.target.is_symlink():
        return replace(job, skip="already done")
    return job
