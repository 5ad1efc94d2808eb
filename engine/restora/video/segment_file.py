"""One file of encoded frames: a segment of a video that is being restored.

It holds the SHA-256 of what follows, the number of source frames and of packets, a row of five
integers for each packet, and the packets' bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_DIGEST_BYTES = 32
_HEAD = np.dtype([("frames", "<i8"), ("packets", "<i8")])
_ROW = np.dtype(
    [("pts", "<i8"), ("dts", "<i8"), ("duration", "<i8"), ("size", "<i8"), ("key", "<i8")]
)
_CHUNK_BYTES = 1 << 20
_MAX_PACKETS = 4  # per frame; encoders produce one
_MAX_BYTES = 1 << 28  # per packet


class DamagedSegmentError(Exception):
    """A segment's file is damaged; the message says how."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One packet: times in the video's time base."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


def segment_parts(packets: list[Encoded], *, frames: int) -> list[bytes]:
    """The bytes of a file, in order. frames: source frames that it holds"""
    head = np.array([(frames, len(packets))], _HEAD)
    rows = np.array([(p.pts, p.dts, p.duration, len(p.data), int(p.key)) for p in packets], _ROW)
    parts = [head.tobytes(), rows.tobytes(), *(packet.data for packet in packets)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return [digest.digest(), *parts]


def count_frames(path: Path, *, max_frames: int) -> int:
    """Source frames of a file, which is checked whole. Raises DamagedSegmentError."""
    with _open_plain(path) as stream:
        frames, _ = _check(stream, max_frames)
    return frames


def iter_packets(path: Path, *, max_frames: int) -> Iterator[Encoded]:
    """Yield the packets of a file, which is checked again. Raises DamagedSegmentError, OSError."""
    with path.open("rb") as stream:
        _, rows = _check(stream, max_frames)
        for row in rows:
            data = stream.read(int(row["size"]))
            pts, dts, duration = int(row["pts"]), int(row["dts"]), int(row["duration"])
            yield Encoded(data, pts, dts, duration, bool(row["key"]))


def _open_plain(path: Path) -> IO[bytes]:
    """Open a regular file; anything else is refused without waiting for it."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise DamagedSegmentError("it is not a regular file")
        return path.open("rb")
    except OSError as error:
        raise DamagedSegmentError(error.strerror or error) from error


def _check(stream: IO[bytes], max_frames: int) -> tuple[int, NDArray[Any]]:
    """Read the number of source frames and the packet rows; leaves the stream at the packet data.

    Sizes are compared with the file size before anything of that size is read.
    """
    try:
        size = os.fstat(stream.fileno()).st_size
        digest, head = stream.read(_DIGEST_BYTES), stream.read(_HEAD.itemsize)
        if len(head) < _HEAD.itemsize:
            raise DamagedSegmentError("it ends early")
        frames, packets = (int(value) for value in np.frombuffer(head, _HEAD)[0])
        rest = size - _DIGEST_BYTES - _HEAD.itemsize
        likely = 0 < frames <= max_frames and 0 < packets <= _MAX_PACKETS * frames
        if not likely or packets * _ROW.itemsize > rest:
            raise DamagedSegmentError(f"it claims {frames} frames in {packets} packets")
        table = stream.read(packets * _ROW.itemsize)
        if len(table) < packets * _ROW.itemsize:
            raise DamagedSegmentError("it ends early")
        rows = np.frombuffer(table, _ROW)
        sizes = [int(value) for value in rows["size"]]
        if min(sizes) < 0 or max(sizes) > _MAX_BYTES or sum(sizes) != rest - len(table):
            raise DamagedSegmentError("the sizes of its packets do not match the file")
        start, found = stream.tell(), hashlib.sha256(head + table)
        while part := stream.read(_CHUNK_BYTES):
            found.update(part)
        if found.digest() != digest:
            raise DamagedSegmentError("its digest does not match")
        stream.seek(start)
    except (OSError, MemoryError) as error:
        raise DamagedSegmentError(error) from error
    return frames, rows
