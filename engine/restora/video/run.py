"""Restore a video: frames through a Restorer in segments, then everything into one file."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from restora.errors import VideoError
from restora.flow import Bounds, PhotoMemory, Stage, Stages, run_flow
from restora.flow.memory import bytes_of_photo
from restora.image import Photo, PhotoHeader
from restora.pipeline import Restorer
from restora.runs import recipe_hash, stamp_of
from restora.video.encoder import EncoderOptions, add_video, require_container
from restora.video.frames import FrameConverter, Pixels, result_pixels
from restora.video.join import join_streams
from restora.video.segments import NO_TIME, Encoded, SegmentStore
from restora.video.source import VideoFacts, open_video, read_facts

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
SEGMENT_FRAMES = 240


@dataclass(frozen=True, slots=True)
class VideoResult:
    """What became of a video.

    frames      in the result
    expected    frames that the source says it has; None if it does not say
    resumed     frames that an earlier run had finished
    reused      frames that were the same as the one before, and not restored again
    left_out    streams that the result's format cannot hold, for people
    stages      how long decoding, restoring and encoding were at work
    """

    frames: int
    expected: int | None
    resumed: int
    reused: int
    left_out: tuple[str, ...]
    elapsed_s: float
    stages: Stages

    @property
    def complete(self) -> bool:
        """Whether no frame is missing that the source says it has."""
        return self.expected is None or self.frames >= self.expected


def restore_video(
    source: Path,
    target: Path,
    restorer: Restorer,
    *,
    encoder: EncoderOptions | None = None,
    outscale: float | None = None,
    skip_duplicates: bool = False,
    hardware: str | None = None,
    memory: int | None = None,
    segment_frames: int = SEGMENT_FRAMES,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> VideoResult | None:
    """Restore every frame; times, audio, subtitles, chapters, rotation and colour tags are kept.

    target           .mp4, .mov, .mkv or .webm; written whole or not at all. Finished segments lie
                     beside it until then, and another run goes on with them
    skip_duplicates  a frame that equals the one before gets its result
    hardware         FFmpeg's name of a decoder device
    memory           most bytes of the whole process; None: half of what is free is for frames
    progress         called with (frames done, frames in all if known)
    stop             looked at before each frame; True ends the run at a segment's border

    Returns None if `stop` ended it. Raises VideoError for what cannot be read or written,
    OptionError for an encoder or format that is not there, and what the networks raise.
    """
    started = time.perf_counter()
    require_container(target)
    with open_video(source, hardware=hardware) as container:
        facts = read_facts(container)
        chosen = (encoder or EncoderOptions()).choose(facts, target)
        size = result_size(facts, restorer, outscale)
        pixels = result_pixels(facts)
        recipe = {
            "restora": recipe_hash(restorer, {"outscale": outscale}),
            "source": stamp_of(source),
            "encoder": [chosen.codec, chosen.quality, chosen.preset],
            "size": size,
            "pixels": pixels,
            "segment_frames": segment_frames,
        }
        store = SegmentStore(target.with_name(f".{target.name}.segments"), recipe)
        converter = FrameConverter(facts, pixels)
        work = _Frames(
            restorer,
            converter,
            size=size,
            outscale=outscale,
            memory=PhotoMemory(restorer, memory),
        )
        resumed = store.frames()
        source_frames = _decode(container)
        for _ in islice(source_frames, resumed):
            pass
        read = _read_frames(source_frames, converter, work.stages.decode, skip_duplicates)
        done, number = resumed, store.finished()
        with contextlib.closing(work.restore(read, stop=stop)) as frames:
            while True:
                counted = _Counted(islice(frames, segment_frames), done, facts.frames, progress)
                packets = encode_frames(
                    counted,
                    facts,
                    chosen,
                    size=size,
                    pixels=pixels,
                    container=require_container(target),
                )
                if stop():
                    return None
                if not counted.frames:
                    break
                store.write(number, packets, frames=counted.frames)
                done, number = done + counted.frames, number + 1
    if not done:
        raise VideoError(f"{source} holds no frame that can be decoded")
    left_out = join_streams(
        source, target, store.packets(), facts=facts, encoder=chosen, size=size, pixels=pixels
    )
    store.remove()
    return VideoResult(
        done,
        facts.frames,
        resumed,
        work.reused,
        left_out,
        time.perf_counter() - started,
        work.stages,
    )


def result_size(facts: VideoFacts, restorer: Restorer, outscale: float | None) -> tuple[int, int]:
    """(width, height), even where colour is subsampled."""
    scale = restorer.scale if outscale is None else outscale
    sides = [int(facts.width * scale), int(facts.height * scale)]
    pixels = result_pixels(facts)
    steps = (1 if "444" in pixels else 2, 2 if "420" in pixels else 1)
    width, height = (
        max(step, side // step * step) for side, step in zip(sides, steps, strict=True)
    )
    return width, height


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """A decoded frame. pixels: None if it equals the one before."""

    time: tuple[int, Fraction]
    pixels: Pixels | None


def _read_frames(
    frames: Iterator[VideoFrame], converter: FrameConverter, stage: Stage, skip_duplicates: bool
) -> Iterator[_Frame]:
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
        yield _Frame((frame.pts, frame.time_base), None if same else pixels)


class _Frames:
    """Frames through the networks, several at once, in order."""

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
        self, frames: Iterable[_Frame], *, stop: Callable[[], bool]
    ) -> Generator[VideoFrame, None, None]:
        facts = self.converter.facts
        header = PhotoHeader(facts.width, facts.height, "", 3, 8 if facts.bits == 8 else 16)
        each = bytes_of_photo(header, scale=self.restorer.scale, outscale=self.outscale)
        self.memory.check("a frame", each)
        bounds: Bounds[_Frame] = Bounds(
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

    def _restore(self, frame: _Frame) -> Pixels | None:
        if frame.pixels is None:
            return None
        height, width, _ = frame.pixels.shape
        with self.stages.restore.at_work(self.restorer.places_of(width, height)):
            return self.restorer.restore(Photo(frame.pixels), outscale=self.outscale).photo.pixels


class _Counted:
    """Frames on their way, counted."""

    def __init__(
        self,
        frames: Iterator[VideoFrame],
        before: int,
        expected: int | None,
        progress: Progress | None,
    ) -> None:
        self._frames = frames
        self._before = before
        self._expected = expected
        self._progress = progress
        self.frames = 0

    def __iter__(self) -> Iterator[VideoFrame]:
        for frame in self._frames:
            self.frames += 1
            yield frame
            if self._progress is not None:
                self._progress(self._before + self.frames, self._expected)


def encode_frames(
    frames: Iterable[VideoFrame],
    facts: VideoFacts,
    options: EncoderOptions,
    *,
    size: tuple[int, int],
    pixels: str,
    container: str,
) -> list[Encoded]:
    """Frames to packets that can be decoded without any others.

    container  that they will lie in: it decides where encoders put their headers
    """
    with av.open(io.BytesIO(), "w", format=container) as nothing:
        stream = add_video(nothing, facts, options, size=size, pixels=pixels)
        packets = [packet for frame in frames for packet in stream.encode(frame)]
        packets += stream.encode(None)
    return [
        Encoded(
            bytes(packet),
            _rescale(packet.pts, packet.time_base, facts.time_base),
            _rescale(packet.dts, packet.time_base, facts.time_base),
            _rescale(packet.duration or 0, packet.time_base, facts.time_base),
            packet.is_keyframe,
        )
        for packet in packets
    ]


def _rescale(value: int | None, unit: Fraction | None, to: Fraction) -> int:
    if value is None:
        return NO_TIME
    return value if unit is None or unit == to else round(value * unit / to)


def _decode(container: InputContainer) -> Iterator[VideoFrame]:
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
