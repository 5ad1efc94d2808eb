"""Encoded frames on disk, a file for every few seconds, so that a run can be gone on with."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restora.errors import OutputError
from restora.image import write_atomically

NO_TIME = -(2**63)
_RECIPE = "recipe.json"


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One packet: times in the video's time base."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


class SegmentStore:
    """A folder of finished segments; each is whole or not there.

    recipe  segments of another one are thrown away
    """

    def __init__(self, folder: Path, recipe: dict[str, Any]) -> None:
        self.folder = folder
        text = json.dumps(recipe, sort_keys=True, default=str)
        try:
            known = (folder / _RECIPE).read_text() if (folder / _RECIPE).exists() else None
            if known != text and folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / _RECIPE, text.encode())
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror}") from error

    def finished(self) -> int:
        """How many segments there are, counted from the first without a gap."""
        count = 0
        while self._path(count).exists():
            count += 1
        return count

    def write(self, number: int, packets: list[Encoded], *, frames: int) -> None:
        """frames  of the source that the segment stands for"""
        arrays: dict[str, NDArray[Any]] = {
            name: np.array([getattr(packet, name) for packet in packets], np.int64)
            for name in ("pts", "dts", "duration", "key")
        }
        arrays["sizes"] = np.array([len(packet.data) for packet in packets], np.int64)
        arrays["data"] = np.frombuffer(b"".join(packet.data for packet in packets), np.uint8)
        arrays["frames"] = np.array(frames)
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        write_atomically(self._path(number), stream.getvalue())

    def frames(self) -> int:
        """Frames of the source that need not be restored again."""
        return sum(int(self._read(number)["frames"]) for number in range(self.finished()))

    def packets(self) -> Iterator[Encoded]:
        """All packets in order of decoding; decoding times made to grow across segments."""
        last: int | None = None
        for number in range(self.finished()):
            arrays = self._read(number)
            data, start = arrays["data"].tobytes(), 0
            for index, size in enumerate(arrays["sizes"]):
                pts, dts = int(arrays["pts"][index]), int(arrays["dts"][index])
                # a segment begins with reordered frames: its first times may lie before the end
                # of the one before
                if last is not None and dts <= last:
                    dts = min(last + 1, pts)
                last = dts
                yield Encoded(
                    data[start : start + int(size)],
                    pts,
                    dts,
                    int(arrays["duration"][index]),
                    bool(arrays["key"][index]),
                )
                start += int(size)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"segment-{number:06}.npz"

    def _read(self, number: int) -> dict[str, NDArray[Any]]:
        with np.load(self._path(number), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
