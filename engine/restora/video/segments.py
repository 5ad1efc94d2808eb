"""The segments of a video on disk, and the journal of their run, so that another run can resume."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from restora.atomic import write_atomically
from restora.errors import OptionError, OutputError, RestoraError, UnsafePathError
from restora.jobs.disk import Stamp, digest_of_file, fingerprint
from restora.jobs.journal import Journal
from restora.jobs.resume import is_untouched
from restora.jobs.run_journal import failure_facts
from restora.video.segment_file import (
    DamagedSegmentError,
    Encoded,
    count_frames,
    iter_packets,
    segment_parts,
)
from restora.video.target import write_error

logger = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"
_OLD_RECIPE = "recipe.json"  # of version 0.1, which kept no journal
_MAX_JOURNAL_BYTES = 1 << 26  # of 100,000 segments
_OURS = (JOURNAL, _OLD_RECIPE, "segment-")


class SegmentStore:
    """A folder of finished segments, numbered from 0 without a gap. The folder's journal records
    when each begins and how it ends.

    recipe: segments of another recipe are removed
    stamp: of the source
    max_frames: source frames that one segment may hold

    Opening the store checks every segment. The first that is damaged, or that the journal does not
    know, and those after it are removed, with a warning. Raises UnsafePathError if the folder is a
    link or not a folder, OutputError if it cannot be written.
    """

    def __init__(
        self, folder: Path, recipe: Mapping[str, Any], *, stamp: Stamp, max_frames: int
    ) -> None:
        self.folder = folder
        self._max_frames = max_frames
        self._stamp = stamp
        self._frames: list[int] = []
        wanted = json.dumps(recipe, sort_keys=True, default=str).encode()
        self._recipe = hashlib.sha256(wanted).hexdigest()[:32]
        try:
            self._check_folder()
            self._journal = _open_journal(folder / JOURNAL)
            with contextlib.ExitStack() as stack:
                stack.callback(self.close)
                self._import_old(wanted)
                self._check_segments()
                stack.pop_all()
        except OutputError:
            raise
        except OSError as error:
            raise write_error(folder, error) from error

    @property
    def finished(self) -> int:
        """Number of segments."""
        return len(self._frames)

    @property
    def frames(self) -> int:
        """Source frames that need not be restored again."""
        return sum(self._frames)

    def begin(self) -> None:
        """Record that the next segment begins."""
        name = self._path(self.finished).name
        self._journal.begin(name, recipe=self._recipe, stamp=self._stamp)

    def append(self, packets: list[Encoded], *, frames: int) -> None:
        """Add the segment that was begun; it is on disk, and recorded, when this returns.

        frames: source frames that the segment holds
        """
        path, parts = self._path(self.finished), segment_parts(packets, frames=frames)
        write_atomically(path, parts, inside=self.folder.parent)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        self._record(path, digest.hexdigest())
        self._frames.append(frames)

    def packets(self) -> Iterator[Encoded]:
        """Yield all packets in decoding order; decoding times increase across segments.

        Raises OutputError if a segment changed since it was checked or written.
        """
        last: int | None = None
        for number in range(self.finished):
            path = self._path(number)
            try:
                for packet in iter_packets(path, max_frames=self._max_frames):
                    dts = packet.dts
                    # a segment begins with reordered frames: its first times may precede the
                    # end of the previous segment
                    if last is not None and dts <= last:
                        dts = min(last + 1, packet.pts)
                    last = dts
                    yield replace(packet, dts=dts)
            except (DamagedSegmentError, OSError) as error:
                raise OutputError(
                    f"{path} changed during the run ({error}): run the command again"
                ) from error

    def close(self) -> None:
        """End the journal; a second call does nothing."""
        self._journal.close()

    def __enter__(self) -> SegmentStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Record why the segment that was begun is not finished, and close."""
        name = self._path(self.finished).name
        if isinstance(error, RestoraError) and self._journal.is_open(name):
            status, facts = failure_facts(type(error).__name__, str(error))
            with contextlib.suppress(OutputError):  # the disk may be full
                self._journal.end(name, status, **facts)
        self.close()

    def remove(self) -> None:
        """Remove the store's files, and the folder if nothing else lies in it."""
        self.close()
        with contextlib.suppress(OSError):
            self._remove_files(set())
            self.folder.rmdir()

    def _check_folder(self) -> None:
        try:
            mode = self.folder.lstat().st_mode
        except FileNotFoundError:
            self.folder.mkdir(parents=True, exist_ok=True)
            return
        if not stat.S_ISDIR(mode):
            raise UnsafePathError(f"{self.folder} must be a folder of this run: remove it")

    def _path(self, number: int) -> Path:
        return self.folder / f"segment-{number:06}.bin"

    def _record(self, path: Path, sha256: str) -> None:
        made = list(fingerprint(path))
        self._journal.end(path.name, "restored", output=path.name, sha256=sha256, made=made)

    def _import_old(self, wanted: bytes) -> None:
        """Record the segments of a run by version 0.1, whose recipe lies in a file."""
        if not _holds(self.folder / _OLD_RECIPE, wanted):
            return
        for number in count():
            path = self._path(number)
            if self._journal.record(path.name) is not None:
                return
            try:
                count_frames(path, max_frames=self._max_frames)
            except DamagedSegmentError:
                return
            self._journal.begin(path.name, recipe=self._recipe, stamp=self._stamp)
            self._record(path, digest_of_file(path))

    def _check_segments(self) -> None:
        for number in count():
            path = self._path(number)
            past = self._journal.record(path.name)
            if past is not None and past.recipe == self._recipe and past.crashes:
                logger.warning(
                    "crashes at frames %d to %d of this video: %d; --memory bounds a run",
                    self.frames,
                    self.frames + self._max_frames - 1,
                    past.crashes,
                )
            if not os.path.lexists(path):
                break
            if past is None or past.result is None or past.recipe != self._recipe:
                break
            try:
                frames = count_frames(path, max_frames=self._max_frames)
                if not is_untouched(path, past.result):
                    raise DamagedSegmentError("it is not the one that was written")
            except DamagedSegmentError as error:
                logger.warning(
                    "%s is damaged (%s): it and the segments after it are made again", path, error
                )
                break
            self._frames.append(frames)
        self._remove_files({JOURNAL, *(self._path(at).name for at in range(self.finished))})

    def _remove_files(self, kept: set[str]) -> None:
        """Remove all other files of a store, and partial files of killed runs. Files that do not
        belong to a store stay."""
        locks = {f".{name}.lock" for name in kept}
        for path in self.folder.iterdir():
            ours = path.name.lstrip(".").startswith(_OURS)
            if ours and path.name not in kept and path.name not in locks:
                path.unlink()


def _open_journal(path: Path) -> Journal:
    """What is no journal is removed: the folder is this program's own."""
    try:
        if os.path.lexists(path) and not _is_small_file(path):
            path.unlink()
        return Journal(path)
    except OptionError:
        logger.warning("%s is damaged: the video is begun again", path)
        path.unlink()
        return Journal(path)


def _is_small_file(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_JOURNAL_BYTES


def _holds(path: Path, data: bytes) -> bool:
    try:
        if not _is_small_file(path):
            return False
        with path.open("rb") as stream:
            return stream.read(len(data) + 1) == data
    except OSError:
        return False
