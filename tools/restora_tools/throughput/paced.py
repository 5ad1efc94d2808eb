"""A network that takes the time of one on a device, and no core of the CPU: what the flow does
around it can be measured where there is no device."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from restora.artifact import read_artifact
from restora.backends import SizeLimits
from restora.backends.base import Batch
from restora.models import DEFAULT_MODEL, find_artifact
from restora.pipeline import Restorer


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a call, and of each picture in it. batch: most pictures in a call."""

    call_s: float = 0.010
    picture_s: float = 0.004
    batch: int = 8
    tile: int = 256


@dataclass(slots=True)
class PacedSession:
    """Sleeps, and gives the pixels of the first batch of that shape, enlarged: later ones cost the
    CPU nothing. The device computes one call at a time; two may be under way, as with TensorRT."""

    pace: Pace
    calls: int = 0
    pictures: int = 0
    _results: dict[tuple[int, ...], Batch] = field(default_factory=dict)
    _device: threading.Lock = field(default_factory=threading.Lock)

    info = read_artifact(find_artifact(DEFAULT_MODEL, "uint8")).info

    @property
    def limits(self) -> SizeLimits:
        pace = self.pace
        return SizeLimits(
            multiple=self.info.size_multiple,
            best_tiles=((pace.tile, pace.tile),),
            max_tile=pace.tile,
            other_tiles_cost=9,  # they share no batches with other photos
            best_batch=pace.batch,
            best_calls=2,
        )

    def run(self, batch: Batch) -> Batch:
        with self._device:
            time.sleep(self.pace.call_s + self.pace.picture_s * len(batch))
            self.calls += 1
            self.pictures += len(batch)
        if batch.shape not in self._results:
            scale = self.info.scale
            self._results[batch.shape] = batch.repeat(scale, axis=1).repeat(scale, axis=2)
        return self._results[batch.shape]

    def close(self) -> None:
        pass


def open_paced(pace: Pace) -> tuple[Restorer, PacedSession]:
    session = PacedSession(pace)
    return Restorer.from_session(session), session
