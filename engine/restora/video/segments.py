"""Encoded frames on disk, one file for every few seconds, so that a run can resume."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from restora.atomic import write_atomically
from restora.errors import OutputError, UnsafePathError
from restora.video.target import write_error

logger = logging.getLogger(__name__)

NO_TIME = -(2**63)
_RECIPE = "recipe.json"
_DIGEST_BYTES = 32
_HEAD = np.dtype([("frames", "<i8"), ("packets", "<i8")])
_ROW = np.dtype(
    [("pts", "<i8"), ("dts", "<i8"), ("duration", "<i8"), ("size", "<i8"), ("key", "<i8")]
)
_CHUNK_BYTES = 1 << 20
_MAX_PACKETS = 4  # per frame; encoders produce one
_MAX_BYTES = 1 << 28  # per packet


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One packet: times in the video's time base."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


class SegmentStore:
    """A folder of finished segments, numbered from 0 without a gap.

    A segment's file holds the SHA-256 of what follows, the number of source frames and of packets,
    a row of five integers for each packet, and the packets' bytes.

    recipe: segments of another recipe are removed
    max_frames: source frames that one segment may hold

    Opening the store checks every segment. The first damaged one and those after it are removed,
    with a warning. Raises UnsafePathError if the folder is a link or not a folder, OutputError if
    it cannot be written.
    """

    def __init__(self, folder: Path, recipe: dict[str, Any], *, max_frames: int) -> None:
        self.folder = folder
        self._max_frames = max_frames
        self._frames: list[int] = []
        wanted = json.dumps(recipe, sort_keys=True, default=str).encode()
        try:
            if self._is_there() and not _holds(folder / _RECIPE, wanted):
                self._remove_files(set())
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / _RECIPE, wanted, inside=folder.parent)
            self._check_segments()
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

    def append(self, packets: list[Encoded], *, frames: int) -> None:
        """Add a segment; it is on disk when this returns.

        frames: source frames that the segment holds
        """
        head = np.array([(frames, len(packets))], _HEAD)
        rows = np.array(
            [(p.pts, p.dts, p.duration, len(p.data), int(p.key)) for p in packets], _ROW
        )
        parts = [head.tobytes(), rows.tobytes(), *(packet.data for packet in packets)]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        path = self._path(self.finished)
        write_atomically(path, [digest.digest(), *parts], inside=self.folder.parent)
        self._frames.append(frames)

    def packets(self) -> Iterator[Encoded]:
        """Yield all packets in decoding order; decoding times increase across segments.

        Raises OutputError if a segment changed since it was checked or written.
        """
        last: int | None = None
        for number in range(self.finished):
            path = self._path(number)
            try:
                with path.open("rb") as stream:
                    _, rows = _check(stream, self._max_frames)
                    for row in rows:
                        pts, dts = int(row["pts"]), int(row["dts"])
                        # a segment begins with reordered frames: its first times may precede the
                        # end of the previous segment
                        if last is not None and dts <= last:
                            dts = min(last + 1, pts)
                        last = dts
                        data = stream.read(int(row["size"]))
                        yield Encoded(data, pts, dts, int(row["duration"]), bool(row["key"]))
            except (_DamagedError, OSError) as error:
                raise OutputError(
                    f"{path} changed during the run ({error}): run the command again"
                ) from error

    def remove(self) -> None:
        """Remove the store's files, and the folder if nothing else lies in it."""
        with contextlib.suppress(OSError):
            self._remove_files(set())
            self.folder.rmdir()

    def _is_there(self) -> bool:
        try:
            mode = self.folder.lstat().st_mode
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(mode):
            raise UnsafePathError(f"{self.folder} must be a folder of this run: remove it")
        return True

    def _path(self, number: int) -> Path:
        return self.folder / f"segment-{number:06}.bin"

    def _check_segments(self) -> None:
        for number in count():
            path = self._path(number)
            if not os.path.lexists(path):
                break
            try:
                with _open_plain(path) as stream:
                    frames, _ = _check(stream, self._max_frames)
            except _DamagedError as error:
                logger.warning(
                    "%s is damaged (%s): it and the segments after it are made again", path, error
                )
                break
            self._frames.append(frames)
        self._remove_files({_RECIPE, *(self._path(at).name for at in range(self.finished))})

    def _remove_files(self, kept: set[str]) -> None:
        """Remove all other files of a store, and partial files of killed runs. Files that do not
        belong to a store stay."""
        for path in self.folder.iterdir():
            if path.name.lstrip(".").startswith((_RECIPE, "segment-")) and path.name not in kept:
                path.unlink()


class _DamagedError(Exception):
    """A segment's file is damaged; the message says how."""


def _open_plain(path: Path) -> IO[bytes]:
    """Open a regular file; anything else is refused without waiting for it."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _DamagedError("it is not a regular file")
        return path.open("rb")
    except OSError as error:
        raise _DamagedError(error.strerror or error) from error


def _holds(path: Path, data: bytes) -> bool:
    try:
        with _open_plain(path) as stream:
            return stream.read(len(data) + 1) == data
    except (_DamagedError, OSError):
        return False


def _check(stream: IO[bytes], max_frames: int) -> tuple[int, NDArray[Any]]:
    """Read the number of source frames and the packet rows; leaves the stream at the packet data.

    Sizes are compared with the file size before anything of that size is read.
    """
    try:
        size = os.fstat(stream.fileno()).st_size
        digest, head = stream.read(_DIGEST_BYTES), stream.read(_HEAD.itemsize)
        if len(head) < _HEAD.itemsize:
            raise _DamagedError("it ends early")
        frames, packets = (int(value) for value in np.frombuffer(head, _HEAD)[0])
        rest = size - _DIGEST_BYTES - _HEAD.itemsize
        likely = 0 < frames <= max_frames and 0 < packets <= _MAX_PACKETS * frames
        if not likely or packets * _ROW.itemsize > rest:
            raise _DamagedError(f"it claims {frames} frames in {packets} packets")
        table = stream.read(packets * _ROW.itemsize)
        if len(table) < packets * _ROW.itemsize:
            raise _DamagedError("it ends early")
        rows = np.frombuffer(table, _ROW)
        sizes = [int(value) for value in rows["size"]]
        if min(sizes) < 0 or max(sizes) > _MAX_BYTES or sum(sizes) != rest - len(table):
            raise _DamagedError("the sizes of its packets do not match the file")
        start, found = stream.tell(), hashlib.sha256(head + table)
        while part := stream.read(_CHUNK_BYTES):
            found.update(part)
        if found.digest() != digest:
            raise _DamagedError("its digest does not match")
        stream.seek(start)
    except (OSError, MemoryError) as error:
        raise _DamagedError(error) from error
    return frames, rows
