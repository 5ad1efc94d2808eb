"""Restore a video: frames through a Restorer in segments, then everything into one file."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.video.frame import VideoFrame

from restora.errors import VideoError
from restora.flow import PhotoMemory, Stages
from restora.pipeline import Restorer
from restora.runs import recipe_hash, stamp_of
from restora.video.encoder import EncoderOptions, add_video, require_container, require_encoder
from restora.video.frame_flow import FrameFlow, decode_frames, read_frames
from restora.video.frames import FrameConverter, result_pixels
from restora.video.join import join_streams
from restora.video.segments import NO_TIME, Encoded, SegmentStore
from restora.video.source import VideoFacts, open_video, read_facts

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
    OptionError for an encoder or format that is not known, MissingBackendError for an encoder or a
    decoder device that does not start here, and what the networks raise.
    """
    started = time.perf_counter()
    require_container(target)
    with open_video(source, hardware=hardware) as container:
        facts = read_facts(container)
        chosen = (encoder or EncoderOptions()).choose(facts, target)
        size = result_size(facts, restorer, outscale)
        pixels = result_pixels(facts)
        require_encoder(facts, chosen, size=size, pixels=pixels, target=target)
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
        work = FrameFlow(
            restorer,
            converter,
            size=size,
            outscale=outscale,
            memory=PhotoMemory(restorer, memory),
        )
        resumed = store.frames()
        source_frames = decode_frames(container)
        for _ in islice(source_frames, resumed):
            pass
        read = read_frames(source_frames, converter, work.stages.decode, skip_duplicates)
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
