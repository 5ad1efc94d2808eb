"""Find the inputs of a run, and identify each by its first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from restora.errors import ImageError, NotAFileError, OptionError, UnsupportedImageError
from restora.image import PhotoLimits, sniff_file
from restora.jobs.disk import is_folder

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
_WRITTEN_AS: dict[str, Literal["jpg", "png", "webp", "tiff"]] = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tiff",
}  # fmt: skip


def format_of_result(read: str | None) -> Literal["jpg", "png", "webp", "tiff"]:
    """The format of the result of a file that was read in a format, as Pillow names it: the same,
    or png if that cannot be written."""
    return _WRITTEN_AS.get(read or "", "png")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file fails without being tried."""

    error_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class InputFile:
    """What the first bytes of a file show. ending: suffix of its result; skip, failure: see Job."""

    path: Path
    folder: Path
    ending: str = ".png"
    skip: str | None = None
    failure: Failure | None = None


def is_file_name(output: Path) -> bool:
    """Whether an output path means a file, not a folder."""
    return output.suffix.lower() in PICTURE_SUFFIXES and not is_folder(output)


def identify(file: Path, folder: Path, ext: Ext, limits: PhotoLimits | None = None) -> InputFile:
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
    format_: Ext | None = ext if ext != "auto" else _WRITTEN_AS.get(kind or "")
    if format_ is None:
        format_ = "png" if kind else RESULT_FORMATS.get(suffix, "png")
    # the user's spelling is kept: .jpeg stays .jpeg
    ending = suffix if RESULT_FORMATS.get(suffix) == format_ else f".{format_}"
    return InputFile(file, folder, ending, skip, failure)


def iter_files(
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


def hint_of_subfolders(folder: Path, recursive: bool) -> str:
    if recursive or not any(is_folder(entry) for entry in folder.iterdir()):
        return ""
    return ", only folders: --recursive (-r) goes into them"
