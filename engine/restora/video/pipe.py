"""Restore a YUV4MPEG2 stream from one pipe to another."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Protocol

from restora.errors import OutputError, RestoraError, VideoError
from restora.jobs.memory import PhotoMemory
from restora.pipeline import Restorer
from restora.video.decode import Decoded
from restora.video.frame_flow import FrameFlow, bytes_of_frame, read_frames
from restora.video.frames import FrameConverter, result_pixels
from restora.video.options import FrameProgress, PipeOptions
from restora.video.restore import VideoResult, result_size
from restora.video.source import VideoFacts, reason_of
from restora.video.y4m import ByteSource, Y4mReader, encode_frame
from restora.video.y4m_header import Y4mHeader

_TICK = Fraction(1, 25)  # of a stream that states no frame rate; frames follow one another anyway
_UNSPECIFIED = 2  # in ITU-T H.273
_FULL, _LIMITED = 2, 1  # FFmpeg's numbers of color ranges


class ByteSink(Protocol):
    """A file object opened in binary mode."""

    def write(self, data: Any, /) -> int | None: ...


def restore_pipe(
    source: ByteSource,
    target: ByteSink,
    restorer: Restorer,
    *,
    options: PipeOptions | None = None,
    progress: FrameProgress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> VideoResult | None:
    """Restore every frame of a raw YUV4MPEG2 stream, in order, as fast as `target` takes them.

    The result has the same frame rate, subsampling, bit depth, range and other tags. Such a stream
    states no matrix: RGB is computed with that of BT.709 from 720 lines on and of BT.601 below,
    and back with the same one, so that the result has the colors of its source.

    source: 4:2:0, 4:2:2 or 4:4:4 in 8 or 10 bits, progressive. An unbuffered file object
        (io.FileIO) can also be left while it waits for data
    target: gets the header with the first frame, and each frame as soon as it is done
    progress: called after each frame
    stop: asked before each frame and while `source` waits; frames in flight are finished

    Returns None if `stop` ended the run. A stream that ends inside a frame gives the frames before
    it, and a fault in the result. Raises VideoError for what is no such stream, or holds no frame,
    OutputError if `target` cannot be written, MemoryLimitError for frames that are too large for
    options.memory, and what the networks raise.
    """
    options = options or PipeOptions()
    outscale = options.outscale
    memory = PhotoMemory(restorer, options.memory)
    started = time.perf_counter()
    reader = Y4mReader(source, stop=stop)
    given = reader.read_header()
    if given is None:
        return None
    facts = _facts_of(given)
    needed = bytes_of_frame(
        (facts.width, facts.height), facts.bits, scale=restorer.scale, outscale=outscale
    )
    memory.check("a frame", needed)
    size = result_size(facts, restorer, outscale)
    header = given.resized(size)
    converter = FrameConverter(facts, result_pixels(facts))
    work = FrameFlow(restorer, converter, size=size, outscale=outscale, memory=memory)
    read = read_frames(
        _timed(reader, facts), converter, work.stages.decode, options.skip_duplicates
    )
    done = 0
    with contextlib.ExitStack() as stack:
        frames = stack.enter_context(contextlib.closing(work.restore(read, stop=stop)))
        stack.callback(reader.stop)  # before the frames are closed, which waits for the reader
        for frame in frames:
            _write(target, (b"" if done else header.encode()) + encode_frame(frame, header))
            done += 1
            if progress is not None:
                progress(done, None)
    if stop():
        return None
    if not done:
        raise VideoError(
            f"the stream holds no frame: {reader.problem or 'it ends after its header'}"
        )
    return VideoResult(
        frames=done,
        expected=None,
        resumed=0,
        reused=work.reused,
        fitted=0,
        left_out=(),
        faults=() if reader.problem is None else (reader.problem,),
        elapsed_s=time.perf_counter() - started,
        stages=work.stages.stats(),
    )


def _timed(reader: Y4mReader, facts: VideoFacts) -> Iterator[Decoded]:
    for index, frame in enumerate(reader):
        frame.pts, frame.time_base = index, facts.time_base
        yield Decoded(frame, facts.aspect)


def _facts_of(header: Y4mHeader) -> VideoFacts:
    rate = header.rate or 1 / _TICK
    return VideoFacts(
        width=header.width,
        height=header.height,
        bits=header.bits,
        pixels=header.pixels,
        frames=None,
        rate=rate,
        time_base=1 / rate,
        rotation=0,
        matrix=_UNSPECIFIED,
        transfer=_UNSPECIFIED,
        primaries=_UNSPECIFIED,
        color_range=_FULL if header.full_range else _LIMITED,
        aspect=header.aspect,
        duration_s=None,
    )


def _write(target: ByteSink, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            count = target.write(view)
            view = view[len(view) if count is None else count :]
    except RestoraError:
        raise
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise OutputError(f"the result cannot be written: {reason_of(error)}") from error
