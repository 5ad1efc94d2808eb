"""Download a checkpoint: checked, resumed after a cut, published whole or not at all."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from restora.errors import ChecksumError, DiskFullError, DownloadError, OptionError, OutputError
from restora.models.store import checkpoint_path, sha256_of
from restora.models.table import ModelEntry, find_entry

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

FetchProgress = Callable[[int, int], None]
_TIMEOUT_S = (10, 30)  # connect, silence between two chunks
_CHUNK = 1 << 18
_MOST_BYTES = 4 << 30
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def fetch_model(model: str | ModelEntry, *, progress: FetchProgress | None = None) -> Path:
    """Download a model's checkpoint into the model folder, unless it is there.

    progress  called with (bytes done, bytes in all; 0 if the server does not say)

    A cut download goes on where it stopped. Two processes asking at once download once.
    Raises DownloadError, saying where to put the file by hand, ChecksumError, DiskFullError.
    """
    # pooch downloads files whole; with 350 MB checkpoints resuming is what matters, so requests
    # (which pooch uses too) is driven here.
    from filelock import FileLock

    entry = find_entry(model) if isinstance(model, str) else model
    if entry.url is None:
        raise OptionError(f"{entry.name} comes with restora; there is nothing to fetch")
    target = checkpoint_path(entry)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(target) + ".lock"):
            if not target.exists():
                _download(entry, entry.url, target, progress)
    except OSError as error:
        if isinstance(error, DownloadError | OutputError):
            raise
        kind = DiskFullError if error.errno in (28, 122) else OutputError  # ENOSPC, EDQUOT
        raise kind(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def _download(entry: ModelEntry, url: str, target: Path, progress: FetchProgress | None) -> None:
    import requests

    address = urlsplit(url)
    if address.scheme != "https" and address.hostname not in _LOCAL_HOSTS:
        raise DownloadError(f"models are fetched over https only, got {url}")
    partial = target.with_name(target.name + ".part")
    have = partial.stat().st_size if partial.exists() else 0
    try:
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            if answer.status_code == 416:  # nothing is left, or the file has changed
                partial.unlink()
                raise DownloadError(f"{url} does not go on from byte {have}: run the command again")
            answer.raise_for_status()
            _save(entry, answer, partial, have, progress)
    except requests.RequestException as error:
        raise DownloadError(
            f"{entry.name} could not be fetched from {url}: {_short(error)}. What has arrived is "
            f"kept; run the command again to go on, or put the file by hand at {target}"
        ) from error
    _publish(entry, partial, target)


def _save(
    entry: ModelEntry,
    answer: "requests.Response",
    partial: Path,
    have: int,
    progress: FetchProgress | None,
) -> None:
    resumed = answer.status_code == 206
    if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise DownloadError(f"the server answered another range than byte {have} onwards")
    done = have if resumed else 0
    length = int(answer.headers.get("Content-Length") or 0)
    total = done + length if length else entry.size_bytes or 0
    with partial.open("ab" if resumed else "wb") as stream:
        for chunk in answer.iter_content(_CHUNK):
            stream.write(chunk)
            done += len(chunk)
            if done > (entry.size_bytes or _MOST_BYTES):
                stream.close()
                partial.unlink()
                raise ChecksumError(
                    f"{entry.file} must be {entry.size_bytes or _MOST_BYTES} bytes at most, the "
                    "server sends more"
                )
            if progress is not None:
                progress(done, total)
        stream.flush()
        os.fsync(stream.fileno())
    if length and done < total:
        raise DownloadError(
            f"the connection ended after {done} of {total} bytes; run the command again to go on"
        )


def _publish(entry: ModelEntry, partial: Path, target: Path) -> None:
    found = sha256_of(partial)
    if entry.sha256 is not None and found != entry.sha256:
        partial.unlink()
        raise ChecksumError(
            f"{entry.file} must have SHA-256 {entry.sha256}, what was downloaded has {found}; it "
            "was deleted"
        )
    if entry.sha256 is None:
        record = target.with_name(target.name + ".sha256")
        if record.exists() and record.read_text().split()[0] != found:
            partial.unlink()
            raise ChecksumError(f"{entry.file} is not the file that was fetched before: {found}")
        record.write_text(f"{found}  {target.name}\n")
        logger.warning("no digest of %s is on record; SHA-256 %s is kept now", entry.file, found)
    partial.replace(target)


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) < 200 else f"{type(error).__name__}: {text[:160]}…"
