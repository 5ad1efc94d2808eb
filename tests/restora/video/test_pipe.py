"""Raw YUV4MPEG2 from one pipe to another: every frame, in order, in the format it came in."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from threading import Event

import numpy as np
import pytest

from restora import Restorer
from restora.errors import MemoryLimitError, OptionError, OutputError, VideoError
from restora.video.options import PipeOptions
from restora.video.pipe import restore_pipe
from restora.video.y4m import Y4mReader, encode_frame
from restora.video.y4m_header import Y4mHeader, parse_header
from video_clips import enlarged, picture, psnr
from y4m_streams import PIXELS, read_stream, write_stream

SIZE = (32, 24)


def restored(data: bytes, restorer: Restorer, options: PipeOptions | None = None) -> bytes:
    target = io.BytesIO()
    result = restore_pipe(io.BytesIO(data), target, restorer, options=options)
    assert result is not None
    assert result.complete
    return target.getvalue()


@pytest.mark.parametrize("pixels", PIXELS)
def test_a_stream_of_ffmpeg_comes_back_enlarged_in_its_own_format(
    restorer: Restorer, pixels: str
) -> None:
    data = restored(write_stream(pixels, rate=30), restorer)
    pictures, found, rate = read_stream(data)
    assert (found, rate) == (pixels, 30)
    assert f" C{PIXELS[pixels]}".encode() in data.split(b"\n")[0]
    assert len(pictures) == 3
    for index, seen in enumerate(pictures):
        wanted = enlarged(picture(index, SIZE))
        inner = np.s_[4:-4, 4:-4]  # the network sees black beyond the edges
        least = {"420": 33, "422": 40, "444": 50}[pixels[3:6]]  # dB; chroma that is subsampled
        assert psnr(seen[inner], wanted[inner]) > least


def test_ten_bits_keep_more_than_eight(restorer: Restorer) -> None:
    header = Y4mHeader(16, 16, "444p10")
    levels = np.arange(256, dtype="<u2").reshape(16, 16) + 300
    planes = levels.tobytes() + 2 * np.full((16, 16), 512, "<u2").tobytes()
    data = restored(header.encode() + b"FRAME\n" + planes, restorer)
    body = data.split(b"FRAME\n", 1)[1]
    luma = np.frombuffer(body[: 32 * 32 * 2], "<u2")
    assert len(np.unique(luma)) > 150


@pytest.mark.parametrize("chroma", PIXELS.values())
@pytest.mark.parametrize("size", [(7, 5), (64, 2), (1, 1)])
def test_frames_are_written_as_they_were_read(chroma: str, size: tuple[int, int]) -> None:
    header = Y4mHeader(*size, chroma)
    length = sum(width * height for width, height in header.planes)
    body = np.random.default_rng(1).integers(0, 256, length, np.uint8).tobytes()
    reader = Y4mReader(io.BytesIO(header.encode() + 2 * (b"FRAME\n" + body)))
    assert reader.read_header() == header
    assert [encode_frame(frame, header) for frame in reader] == 2 * [b"FRAME\n" + body]
    assert reader.problem is None


def test_a_header_keeps_its_tags_and_says_their_meaning() -> None:
    line = b"YUV4MPEG2 W720 H576 F30000:1001 Ip A16:15 C420mpeg2 XYSCSS=420MPEG2 "
    header = parse_header(line + b"XCOLORRANGE=FULL XMINE=1 Zz")
    assert header == Y4mHeader(
        720, 576, "420mpeg2", Fraction(30000, 1001), Fraction(16, 15), True, ("XMINE=1", "Zz")
    )
    assert parse_header(header.encode()[:-1]) == header
    assert parse_header(b"YUV4MPEG2 W2 H2 F0:0 A0:0 I?") == Y4mHeader(2, 2)


def test_full_range_is_read_and_written_as_such(restorer: Restorer) -> None:
    def gray(level: int, **tags: bool) -> bytes:
        header = Y4mHeader(16, 16, "444", **tags)  # type: ignore[arg-type]
        planes = bytes([level]) * 256 + bytes([128]) * 512
        return restored(header.encode() + b"FRAME\n" + planes, restorer)

    for level in (0, 200, 255):
        data = gray(level, full_range=True)
        assert b" XCOLORRANGE=FULL" in data.split(b"\n")[0]
        middle = data.split(b"FRAME\n")[1][16 * 32 + 16]
        assert middle == pytest.approx(level, abs=1)  # one level of rounding
    assert b"XCOLORRANGE" not in gray(100).split(b"\n")[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"RIFF....AVI LIST", "must be YUV4MPEG2"),
        (b"YUV4MPEG2", "size in pixels as W"),
        (b"YUV4MPEG2 W0 H4", "size in pixels as W"),
        (b"YUV4MPEG2 W4 H-4", "size in pixels as H"),
        (b"YUV4MPEG2 W99999999999 H4", "size in pixels as W"),
        (b"YUV4MPEG2 W100000 H100000", "limit"),
        (b"YUV4MPEG2 W4 H4 F25", "F as two numbers"),
        (b"YUV4MPEG2 W4 H4 A1:x", "A as two numbers"),
        (b"YUV4MPEG2 W4 H4 It", "deinterlace"),
        (b"YUV4MPEG2 W4 H4 C411", "C411"),
        (b"YUV4MPEG2 W4 H4 C420p12", "C420p12"),
        (b"YUV4MPEG2 W4 H4 Cmono", "Cmono"),
    ],
)
def test_what_a_header_must_say_is_told(line: bytes, words: str) -> None:
    with pytest.raises(VideoError, match=words):
        parse_header(line)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"YUV4MPEG2 W4 H4", "header must end"),
        (b"YUV4MPEG2 " + b"X" * 2000, "header must end within 1024"),
        (b"\x00\x00\x00\x1cftypisom", "must be YUV4MPEG2"),
        (b"YUV4MPEG2 W4 H4\n", "holds no frame: it ends after its header"),
        (b"YUV4MPEG2 W4 H4\nFRAME\n1234", "inside frame 1, after 4 of 24 bytes"),
        (b"YUV4MPEG2 W4 H4\nFRAMES\n", "frame 1 begins with"),
    ],
)
def test_a_stream_without_a_frame_is_an_error_and_writes_nothing(
    restorer: Restorer, data: bytes, words: str
) -> None:
    target = io.BytesIO()
    with pytest.raises(VideoError, match=words):
        restore_pipe(io.BytesIO(data), target, restorer)
    assert target.getvalue() == b""


def test_the_frames_before_a_cut_are_restored_and_the_cut_is_a_fault(restorer: Restorer) -> None:
    whole = restored(write_stream(), restorer)
    target = io.BytesIO()
    result = restore_pipe(io.BytesIO(write_stream()[:-10]), target, restorer)
    assert result is not None
    assert result.frames == 2
    assert not result.complete
    assert result.faults == ("the stream ends inside frame 3, after 1142 of 1152 bytes",)
    assert whole.startswith(target.getvalue())
    assert target.getvalue().count(b"FRAME\n") == 2


def test_parameters_of_a_frame_are_skipped(restorer: Restorer) -> None:
    data = write_stream()
    marked = data.replace(b"FRAME\n", b"FRAME Ippp XKEY=1\n")
    assert restored(marked, restorer) == restored(data, restorer)


def test_identical_frames_in_a_row_are_restored_once(restorer: Restorer) -> None:
    head, first, second, _ = write_stream().split(b"FRAME\n")
    data = b"FRAME\n".join((head, first, first, second))
    target = io.BytesIO()
    result = restore_pipe(
        io.BytesIO(data), target, restorer, options=PipeOptions(skip_duplicates=True)
    )
    assert result is not None
    assert (result.frames, result.reused) == (3, 1)
    assert target.getvalue() == restored(data, restorer)


def test_outscale_sets_the_size_of_the_result(restorer: Restorer) -> None:
    data = restored(write_stream(), restorer, PipeOptions(outscale=1.5))
    assert data.startswith(b"YUV4MPEG2 W48 H36 ")
    assert read_stream(data)[0][0].shape == (36, 48, 3)
    with pytest.raises(OptionError, match="outscale"):
        PipeOptions(outscale=0)


def test_frames_beyond_the_memory_limit_are_refused_before_they_are_read(
    restorer: Restorer,
) -> None:
    header = Y4mHeader(20_000, 10_000).encode()
    with pytest.raises(MemoryLimitError, match="a frame"):
        restore_pipe(
            io.BytesIO(header), io.BytesIO(), restorer, options=PipeOptions(memory=4 << 30)
        )


class Broken(io.BytesIO):
    def write(self, data: object, /) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@contextmanager
def open_pipe(data: bytes) -> Iterator[io.FileIO]:
    """A pipe whose writer stays, and says nothing after the data."""
    read, write = os.pipe()
    os.write(write, data)
    try:
        with io.FileIO(read) as source:
            yield source
    finally:
        os.close(write)


def test_a_reader_that_is_gone_ends_the_run_though_the_writer_is_silent(
    restorer: Restorer,
) -> None:
    with open_pipe(write_stream(frames=2)) as source, pytest.raises(OutputError, match="Broken"):
        restore_pipe(source, Broken(), restorer)


def test_frames_are_written_as_soon_as_they_are_done_and_stop_ends_a_silent_pipe(
    restorer: Restorer,
) -> None:
    stopping = Event()
    target = io.BytesIO()
    with open_pipe(write_stream(frames=2)) as source:
        result = restore_pipe(
            source,
            target,
            restorer,
            stop=stopping.is_set,
            progress=lambda done, _: stopping.set() if done == 2 else None,
        )
    assert result is None
    assert target.getvalue().count(b"FRAME\n") == 2


def test_stop_ends_the_wait_for_a_header(restorer: Restorer) -> None:
    with open_pipe(b"YUV4") as source:
        assert restore_pipe(source, io.BytesIO(), restorer, stop=lambda: True) is None


def test_a_pipe_that_does_not_block_is_read_to_its_end(restorer: Restorer) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    data = write_stream(frames=2)
    os.write(write, data)
    os.close(write)
    target = io.BytesIO()
    with io.FileIO(read) as source:
        assert restore_pipe(source, target, restorer) is not None
    assert target.getvalue() == restored(data, restorer)
