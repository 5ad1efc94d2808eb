"""Frames of a video through the networks, several at once, in order."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from restora.errors import VideoError
from restora.flow import Bounds, PhotoMemory, Stage, Stages, run_flow
from restora.flow.memory import bytes_of_photo
from restora.image import Photo, PhotoHeader
from restora.pipeline import Restorer
from restora.video.frames import FrameConverter, Pixels

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A decoded frame. pixels: None if it equals the one before."""

    time: tuple[int, Fraction]
    pixels: Pixels | None


def read_frames(
    frames: Iterator[VideoFrame], converter: FrameConverter, stage: Stage, skip_duplicates: bool
) -> Iterator[Frame]:
    """As RGB; `stage` is at work meanwhile. With skip_duplicates, a frame that equals the one
    before has no pixels."""
    last: Pixels | None = None
    while True:
        with stage.at_work():
            frame = next(frames, None)
            if frame is None:
                return
            pixels = converter.to_rgb(frame)
        assert frame.pts is not None
        assert frame.time_base is not None
        same = skip_duplicates and last is not None and np.array_equal(last, pixels)
        last = pixels if skip_duplicates else None
        yield Frame((frame.pts, frame.time_base), None if same else pixels)


class FrameFlow:
    """Frames through the networks, several at once, in order.

    size    (width, height) of results, which are cut to it
    memory  what frames under way may take together

    stages and reused say what was done, and how many results were used twice.
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
        self.converter = converter
        self.size = size
        self.outscale = outscale
        self.memory = memory
        self.stages = Stages.around(restorer)
        self.reused = 0

    def restore(
        self, frames: Iterable[Frame], *, stop: Callable[[], bool]
    ) -> Generator[VideoFrame, None, None]:
        """Yield the result of each frame, at its time; once `stop` is true, only of those that are
        begun. Raises MemoryLimitError if one frame alone would pass the limit."""
        facts = self.converter.facts
        header = PhotoHeader(facts.width, facts.height, "", 3, 8 if facts.bits == 8 else 16)
        each = bytes_of_photo(header, scale=self.restorer.scale, outscale=self.outscale)
        self.memory.check("a frame", each)
        bounds: Bounds[Frame] = Bounds(
            items=self.restorer.places + 2,  # one waits for a place, one for the encoder
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
                with self.stages.encode.at_work():  # until the caller asks for the next one
                    yield self.converter.to_frame(last, frame.time)

    def _restore(self, frame: Frame) -> Pixels | None:
        if frame.pixels is None:
            return None
        height, width, _ = frame.pixels.shape
        with self.stages.restore.at_work(self.restorer.places_of(width, height)):
            return self.restorer.restore(Photo(frame.pixels), outscale=self.outscale).photo.pixels


def decode_frames(container: InputContainer) -> Iterator[VideoFrame]:
    """Frames in order of time; a frame without a time gets the next one. Ends where the file is
    damaged: what is missing is counted later."""
    frames = container.decode(container.streams.video[0])
    last: int | None = None
    while True:
        try:
            frame = next(frames, None)
        except av.FFmpegError as error:
            if last is None:
                raise VideoError(f"{container.name} cannot be decoded: {error}") from error
            logger.warning("%s is damaged from here on: %s", container.name, error)
            return
        if frame is None:
            return
        if frame.pts is None or (last is not None and frame.pts <= last):
            frame.pts = 0 if last is None else last + 1
        last = frame.pts
        yield frame
