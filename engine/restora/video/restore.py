"""Restore a video: its frames in segments, then all streams into one file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame

from restora.errors import VideoError
from restora.jobs.disk import fingerprint
from restora.jobs.lock import output_lock
from restora.jobs.memory import PhotoMemory
from restora.jobs.recipe import recipe_hash
from restora.jobs.stage import StageStats
from restora.pipeline import Restorer
from restora.video.decode import FrameReader
from restora.video.encoder import (
    Encoder,
    choose_encoder,
    encode_frames,
    require_container,
    require_encoder,
)
from restora.video.frame_flow import FrameFlow, bytes_of_frame, read_frames
from restora.video.frames import FrameConverter, result_pixels
from restora.video.join import Joiner
from restora.video.options import FrameProgress, VideoOptions
from restora.video.segments import SegmentStore
from restora.video.source import (
    MAX_PIXELS,
    VideoFacts,
    open_video,
    read_facts,
    reason_of,
    require_size,
)
from restora.video.target import path_beside, require_target, require_writable

_DECODED_BYTES = 48  # per pixel: a decoder keeps 16 frames of 3 bytes
_OPENED_BYTES = 20  # per pixel, while a file is opened and only a few frames are decoded
_ENDS_BYTES = 1 << 20
_FORMAT = 2  # version of the segment files


@dataclass(frozen=True, slots=True)
class VideoResult:
    """How the restoration of a video ended.

    frames: of the result
    expected: frames that the source states; None if it states none
    resumed: frames that an earlier run had finished
    reused: frames identical to the one before, which got its result
    fitted: frames of another size or rotation than the first, fitted to it by this run
    left_out: descriptions of streams that the output format cannot hold
    faults: descriptions of damage in the source that is missing in the result
    stages: how busy "decode", "restore" and "encode" were
    """

    frames: int
    expected: int | None
    resumed: int
    reused: int
    fitted: int
    left_out: tuple[str, ...]
    faults: tuple[str, ...]
    elapsed_s: float
    stages: Mapping[str, StageStats]

    @property
    def complete(self) -> bool:
        """Whether the result has everything that the source has or states."""
        return not self.faults and (self.expected is None or self.frames >= self.expected)


def restore_video(
    source: Path | str,
    output: Path | str,
    restorer: Restorer,
    *,
    options: VideoOptions | None = None,
    progress: FrameProgress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> VideoResult | None:
    """Restore every frame; times, audio, subtitles, chapters, rotation and color tags are kept.

    output: .mp4, .mov, .mkv or .webm; it is written completely or not at all. Finished segments lie
        beside it until then, and another run resumes after them
    progress: called after each frame
    stop: asked before each frame; once it is true the run ends, and keeps the frames of segments
        that are finished

    Returns None if `stop` ended the run. Raises VideoError for what cannot be read, OptionError for
    an output that exists or that another run is writing, and for an unknown encoder or format,
    OutputError for what cannot be written, MissingBackendError for an encoder or a decoder device
    that does not start here, MemoryLimitError for frames that are too large for options.memory, and
    what the networks raise.
    """
    options = options or VideoOptions()
    source, target = Path(source), Path(output)
    require_container(target)
    require_target(target, source, overwrite=options.overwrite)
    require_writable(target)
    with output_lock(target):
        # another run may have ended meanwhile
        require_target(target, source, overwrite=options.overwrite)
        run = _Run(source, target, restorer, options, PhotoMemory(restorer, options.memory))
        return run.restore(progress, stop)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run; the target is locked."""

    source: Path
    target: Path
    restorer: Restorer
    options: VideoOptions
    memory: PhotoMemory

    def restore(
        self, progress: FrameProgress | None, stop: Callable[[], bool]
    ) -> VideoResult | None:
        started = time.perf_counter()
        facts = self._read_facts()
        encoder = choose_encoder(self.options, facts, self.target)
        outscale, segment_frames = self.options.outscale, self.options.segment_frames
        size = result_size(facts, self.restorer, outscale)
        pixels = result_pixels(facts)
        require_encoder(facts, encoder, size=size, pixels=pixels, target=self.target)
        joiner = Joiner(self.source, self.target, facts, encoder, size, pixels)
        joiner.check()
        converter = FrameConverter(facts, pixels)
        work = FrameFlow(self.restorer, converter, size=size, outscale=outscale, memory=self.memory)
        store = SegmentStore(
            path_beside(self.target, ".segments"),
            {**self._recipe(encoder), "size": size, "pixels": pixels, "frames": segment_frames},
            stamp=fingerprint(self.source),
            max_frames=segment_frames,
        )
        with store:
            resumed = done = store.frames
            with self._open(facts.width * facts.height) as container:
                reader = FrameReader(container)
                decoded = iter(reader)
                for _ in islice(decoded, resumed):
                    pass
                skip_duplicates = self.options.skip_duplicates
                read = read_frames(decoded, converter, work.stages.decode, skip_duplicates)
                with contextlib.closing(work.restore(read, stop=stop)) as frames:
                    while True:
                        store.begin()
                        part = islice(frames, segment_frames)
                        counted = _Counted(part, done, facts.frames, progress)
                        packets = encode_frames(
                            counted,
                            facts,
                            encoder,
                            size=size,
                            pixels=pixels,
                            container=require_container(self.target),
                        )
                        if stop():
                            return None
                        if not counted.frames:
                            break
                        store.append(packets, frames=counted.frames)
                        done += counted.frames
            joined = joiner.join(store.packets)
            store.remove()
        return VideoResult(
            frames=done,
            expected=None if facts.frames is None else max(0, facts.frames - reader.empty),
            resumed=resumed,
            reused=work.reused,
            fitted=converter.fitted,
            left_out=tuple(joined.left_out),
            faults=(*reader.faults, *joined.faults),
            elapsed_s=time.perf_counter() - started,
            stages=work.stages.stats(),
        )

    def _read_facts(self) -> VideoFacts:
        """Check the size before a frame is decoded."""
        with open_video(
            self.source, hardware=self.options.hardware, max_pixels=self._max_pixels(_OPENED_BYTES)
        ) as container:
            size = require_size(container)
            needed = bytes_of_frame(
                size, 8, scale=self.restorer.scale, outscale=self.options.outscale
            )
            self.memory.check(f"a frame of {size[0]} x {size[1]}", needed)
            return read_facts(container)

    def _open(self, frame_pixels: int) -> contextlib.AbstractContextManager[Any]:
        """Open for decoding; later frames may be larger, as far as the memory allows."""
        limit = max(frame_pixels, self._max_pixels(_DECODED_BYTES))
        return open_video(self.source, hardware=self.options.hardware, max_pixels=limit)

    def _max_pixels(self, pixel_bytes: int) -> int:
        if self.memory.limit is None:
            return MAX_PIXELS
        return min(MAX_PIXELS, self.memory.budget.capacity // pixel_bytes)

    def _recipe(self, encoder: Encoder) -> dict[str, Any]:
        """Everything that segments depend on."""
        return {
            "format": _FORMAT,
            "restora": recipe_hash(self.restorer, {"outscale": self.options.outscale}),
            "source": [*fingerprint(self.source), _digest_of_ends(self.source)],
            "encoder": [encoder.codec, encoder.crf, encoder.preset],
            "ffmpeg": [av.__version__, av.library_versions],
        }


def result_size(facts: VideoFacts, restorer: Restorer, outscale: float | None) -> tuple[int, int]:
    """Returns (width, height), even numbers where chroma is subsampled."""
    scale = restorer.scale if outscale is None else outscale
    sides = [int(facts.width * scale), int(facts.height * scale)]
    pixels = result_pixels(facts)
    steps = (1 if "444" in pixels else 2, 2 if "420" in pixels else 1)
    width, height = (
        max(step, side // step * step) for side, step in zip(sides, steps, strict=True)
    )
    return width, height


class _Counted:
    """Counts frames as they pass."""

    def __init__(
        self,
        frames: Iterator[VideoFrame],
        before: int,
        expected: int | None,
        progress: FrameProgress | None,
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


def _digest_of_ends(path: Path) -> str:
    """SHA-256 of the first and last megabyte: two files may share size and modification time."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.sha256(stream.read(_ENDS_BYTES))
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _ENDS_BYTES))
            digest.update(stream.read(_ENDS_BYTES))
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {reason_of(error)}") from error
    return digest.hexdigest()
