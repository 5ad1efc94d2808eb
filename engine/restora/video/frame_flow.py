"""Restore the frames of a video, several at once, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame

from restora.image import Photo, PhotoHeader
from restora.jobs.memory import PhotoMemory
from restora.jobs.photo_flow import Stages
from restora.jobs.scheduler import Bounds, run_flow
from restora.jobs.sizes import bytes_of_photo
from restora.jobs.stage import Stage
from restora.networks import max_in_flight, slots_for
from restora.pipeline import Restorer
from restora.video.decode import Decoded
from restora.video.frames import FrameConverter, Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A decoded frame. pixels: None if it is identical to the previous one."""

    time: tuple[int, Fraction]
    pixels: Pixels | None


def read_frames(
    frames: Iterator[Decoded], converter: FrameConverter, stage: Stage, skip_duplicates: bool
) -> Iterator[Frame]:
    """Yield frames as RGB; decoding runs in `stage`. With skip_duplicates, a frame identical to the
    previous one has no pixels."""
    last: Pixels | None = None
    while True:
        with stage.running():
            decoded = next(frames, None)
            if decoded is None:
                return
            pixels = converter.to_rgb(decoded)
        time = decoded.frame.pts, decoded.frame.time_base
        assert time[0] is not None
        assert time[1] is not None
        same = skip_duplicates and last is not None and np.array_equal(last, pixels)
        last = pixels if skip_duplicates else None
        yield Frame((time[0], time[1]), None if same else pixels)


def bytes_of_frame(size: tuple[int, int], bits: int, *, scale: int, outscale: float | None) -> int:
    """Most memory in bytes that a frame of (width, height) takes, without that of the network."""
    header = PhotoHeader(*size, "", 3, 8 if bits == 8 else 16)
    return bytes_of_photo(header, scale=scale, outscale=outscale)


class FrameFlow:
    """Restores frames, several at once, in order.

    size: (width, height) of results, which are cropped to it
    memory: limit of all frames in flight

    stages: how busy decoding, restoring and encoding were
    reused: frames that got the result of the previous one
    """

    def __init__(
        self,
        restorer: Restorer,
        converter: FrameConverter,
        *,
        size: tuple[int, int],
        outscale: float | None,
        memory: PhotoMemory,
    ) -> None:
        self.restorer = restorer
        self.networks = restorer.networks
        self.converter = converter
        self.size = size
        self.outscale = outscale
        self.memory = memory
        self.stages = Stages.around(restorer)
        self.reused = 0

    def restore(
        self, frames: Iterable[Frame], *, stop: Callable[[], bool]
    ) -> Generator[VideoFrame, None, None]:
        """Yield the result of each frame with its time; once `stop` is true, only of frames already
        begun. Raises MemoryLimitError if a single frame exceeds the limit."""
        facts = self.converter.facts
        each = bytes_of_frame(
            (facts.width, facts.height),
            facts.bits,
            scale=self.restorer.scale,
            outscale=self.outscale,
        )
        self.memory.check("a frame", each)
        bounds: Bounds[Frame] = Bounds(
            items=max_in_flight(self.networks) + 2,  # one waits for a slot, one for the encoder
            memory=self.memory.budget,
            bytes_of=lambda frame: 0 if frame.pixels is None else each,
        )
        width, height = self.size
        last: Pixels | None = None
        flow = run_flow(frames, self._restore, bounds, in_order=True, stop=stop)
        with contextlib.closing(flow):
            for frame, made in flow:
                if made is None:
                    self.reused += 1
                else:
                    last = made[:height, :width]
                assert last is not None
                with self.stages.encode.running():  # until the caller asks for the next one
                    yield self.converter.to_frame(last, frame.time)

    def _restore(self, frame: Frame) -> Pixels | None:
        if frame.pixels is None:
            return None
        height, width, _ = frame.pixels.shape
        with self.stages.restore.running(slots_for(self.networks, width, height)):
            return self.restorer.restore(Photo(frame.pixels), outscale=self.outscale).photo.pixels
