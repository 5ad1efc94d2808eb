"""Facts about damaged and hostile videos: typed errors, bounded memory, nothing lost."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest

from processes import run_measured, run_process, start
from restora import Restorer
from restora.errors import MemoryLimitError, VideoError
from restora.options import RestoreOptions

av = pytest.importorskip("av")

from restora.video.decode import FrameReader  # noqa: E402
from restora.video.options import VideoOptions  # noqa: E402
from restora.video.restore import restore_video  # noqa: E402
from restora.video.source import open_video, read_facts  # noqa: E402
from restora.video.timeline import Timeline  # noqa: E402
from video_clips import (  # noqa: E402
    Clip,
    enlarged,
    join_clips,
    look,
    make_clip,
    make_vp8,
    picture,
    psnr,
)

BIG = (16383, 16383)


def read_all(path: Path) -> int:
    """All that a run reads of a file; returns how many frames there are."""
    with open_video(path, max_pixels=1 << 20) as container:
        read_facts(container)
    with open_video(path, max_pixels=1 << 20) as container:
        frames = sum(1 for _ in FrameReader(container))
    with open_video(path, max_pixels=1 << 20) as container:
        try:
            for _ in Timeline(container).demux(list(container.streams)):
                pass
        except Exception:  # noqa: BLE001  # as the joiner does
            pass
    return frames


def make_folder(path: Path) -> None:
    path.mkdir()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


ODD: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": make_folder,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": make_socket,
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_plain_file_is_refused_without_waiting(
    kind: str, restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    source = Path("in.mp4")
    ODD[kind](source)
    with pytest.raises(VideoError, match=r"not a regular file|cannot be read"):
        restore_video(source, Path("out.mp4"), restorer)
    assert not Path("out.mp4").exists()
    assert not list(tmp_path.glob(".*"))


def test_the_command_refuses_a_pipe_with_4(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in.mp4")
    process = start(tmp_path, "video", "-i", "in.mp4", "-o", "out.mp4", "-n", model)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 4, words
    assert "is not a regular file" in words


@pytest.mark.parametrize(
    ("suffix", "audio"),
    [
        (".mp4", True),
        (".mkv", True),
        (".ts", True),
        (".avi", False),
        (".mov", True),
        (".webm", False),
    ],
)
def test_nothing_but_a_video_error_comes_of_a_damaged_file(
    suffix: str, audio: bool, tmp_path: Path
) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".webm":
        make_vp8(tmp_path / "whole.mkv", [(64, 48)] * 5).rename(whole)
    else:
        make_clip(whole, Clip(frames=5, audio=audio, title="" if suffix == ".ts" else "a clip"))
    assert read_all(whole) == 5
    data, rng = whole.read_bytes(), random.Random(suffix)
    path, read = tmp_path / f"in{suffix}", 0
    for _ in range(80):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 2, 6, 30))):
            at = rng.randrange(min(len(damaged), 1500) if rng.random() < 0.5 else len(damaged))
            value = rng.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\x80\x00\x00\x00"))
            if rng.random() < 0.5:
                damaged[at] ^= 1 << rng.randrange(8)
            else:
                damaged[at : at + 4] = value
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        try:
            read += read_all(path)
        except VideoError as error:
            assert str(path) in str(error)  # noqa: PT017
    assert read > 50


@pytest.mark.parametrize(
    "error",
    [
        AssertionError("as"),
        ValueError("va"),
        OverflowError("ov"),
        MemoryError("me"),
        RecursionError("re"),
        KeyError("ke"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "un"),
        OSError(5, "io"),
    ],
)
@pytest.mark.parametrize("where", ["open", "facts", "frames"])
def test_whatever_pyav_raises_becomes_a_video_error(
    where: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "in.mp4", Clip(frames=3))

    class Broken:
        """Of a container, all that is asked for fails."""

        name = f"file:{path}"

        def __init__(self, container: Any) -> None:
            self.streams, self.format = container.streams, container.format

        def demux(self, *_: object) -> Iterator[Any]:
            raise error
            yield

    def fail(*_: object, **__: object) -> None:
        raise error

    if where == "open":
        monkeypatch.setattr(av, "open", fail)
        with (
            pytest.raises(VideoError, match=r"in\.mp4 cannot be read as a video"),
            open_video(path),
        ):
            pass
        return
    with open_video(path) as container:
        broken: Any = Broken(container)
        if where == "facts":
            with pytest.raises(VideoError, match="no frame"):
                read_facts(broken)
        else:
            reader = FrameReader(broken)
            with pytest.raises(VideoError, match="no frame"):
                next(iter(reader))
            assert reader.problem


def _beside_us(more: int) -> int:
    """A limit on the memory of this process that leaves so many bytes for a video."""
    return int(psutil.Process().memory_info().rss) + more


def test_frames_that_claim_to_be_huge_are_refused_before_memory_is_taken(
    model: Path, tmp_path: Path
) -> None:
    make_vp8(tmp_path / "in.mkv", [BIG] * 3)
    words = ["video", "-i", "in.mkv", "-o", "out.mp4", "-n", model, "--memory", "1G"]
    done, peak = run_measured(tmp_path, *words, "--backend", "cpu")
    assert done.returncode == 4, done.stderr
    assert "no frame of 64 x 48 that can be decoded" in done.stderr
    assert peak < 500 << 20
    assert not (tmp_path / "out.mp4").exists()


def test_a_frame_that_needs_more_than_the_memory_is_named_before_it_is_decoded(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "in.mkv", Clip(frames=2, size=(4000, 3000), audio=False))
    monkeypatch.setattr("restora.video.restore.read_facts", None)  # it decodes
    small_tiles = RestoreOptions(backend="cpu", tile=64)
    with (
        Restorer(model, options=small_tiles) as restorer,
        pytest.raises(MemoryLimitError, match="a frame of 4000 x 3000 needs"),
    ):
        restore_video(
            source,
            tmp_path / "out.mp4",
            restorer,
            options=VideoOptions(memory=_beside_us(450 << 20)),
        )


@pytest.mark.parametrize("late", [0, 1, 5])
def test_frames_that_grow_past_the_memory_are_left_out_and_said(
    late: int, model: Path, restorer: Restorer, tmp_path: Path
) -> None:
    sizes = [(64, 48)] * 6
    sizes[late] = BIG
    source = make_vp8(tmp_path / "in.mkv", sizes)
    result = restore_video(
        source, tmp_path / "out.mp4", restorer, options=VideoOptions(memory=_beside_us(850 << 20))
    )
    assert result is not None
    assert (result.frames, result.complete) == (5, False)
    assert result.faults == ("packets of the video that cannot be decoded: 1",)
    seen = look(tmp_path / "out.mp4")
    assert [round(time * 25) for time in seen.times] == [i for i in range(6) if i != late]
    if late == 5:
        words = ["video", "-i", source, "-o", "cli.mp4", "-n", model, "--memory", "1G"]
        ended = run_process(tmp_path, *words, "--backend", "cpu")
        assert ended.returncode == 3, ended.stderr
        assert "cannot be decoded: 1" in ended.stderr


def test_frames_after_a_damaged_packet_are_restored(restorer: Restorer, tmp_path: Path) -> None:
    source = make_vp8(tmp_path / "in.mkv", [(64, 48)] * 8)
    data = bytearray(source.read_bytes())
    third = [at for at in range(len(data)) if data[at : at + 3] == b"\x9d\x01\x2a"][2]
    data[third : third + 3] = bytes(3)  # its start code
    source.write_bytes(data)
    result = restore_video(source, tmp_path / "out.mp4", restorer)
    assert result is not None
    assert (result.frames, result.complete) == (7, False)
    seen = look(tmp_path / "out.mp4")
    assert [round(time * 25) for time in seen.times] == [0, 1, 3, 4, 5, 6, 7]
    inner = (slice(6, -6), slice(6, -6))
    for index, found in zip((0, 1, 3, 4, 5, 6, 7), seen.pictures, strict=True):
        assert psnr(enlarged(picture(index, (64, 48)))[inner], found[inner]) > 23


def test_an_empty_packet_does_not_end_the_video(restorer: Restorer, tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", Clip(frames=8, audio=False))
    source = tmp_path / "in.nut"
    with av.open(str(whole)) as container, av.open(str(source), "w") as output:
        stream = container.streams.video[0]
        copy: Any = output.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if not packet.size:
                continue
            time, unit = packet.dts, packet.time_base
            packet.stream = copy
            output.mux(packet)
            if time is not None:
                empty: Any = av.Packet(b"")
                empty.stream, empty.time_base = copy, unit
                empty.pts = empty.dts = time + 1
                output.mux(empty)
    with av.open(str(source)) as container:
        assert sum(not packet.size for packet in container.demux()) > 3
    result = restore_video(source, tmp_path / "out.mp4", restorer)
    assert result is not None
    assert (result.frames, result.complete) == (8, True)
    times = look(tmp_path / "out.mp4").times
    assert [time - times[0] for time in times] == look(whole).times


def test_a_frame_at_an_absurd_time_gets_the_next_one_and_is_said(
    restorer: Restorer, tmp_path: Path
) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as output:
        stream: Any = output.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(picture(index, (64, 48)), format="rgb24")
            late = 2**44 if index >= 4 else 0
            frame.pts, frame.time_base = 40 * index + late, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    result = restore_video(source, tmp_path / "out.mp4", restorer)
    assert result is not None
    assert (result.frames, result.complete) == (6, False)
    assert result.faults == ("frames whose time is damaged: 2",)
    assert look(tmp_path / "out.mp4").times[-1] < 1


def test_a_clock_that_counts_in_too_large_units_is_refused(
    restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_vp8(tmp_path / "in.mkv", [(64, 48)] * 3)  # counts in milliseconds
    monkeypatch.setattr("restora.video.source._MAX_TICK_S", Fraction(1, 1000))
    assert restore_video(source, tmp_path / "out.mp4", restorer) is not None
    monkeypatch.setattr("restora.video.source._MAX_TICK_S", Fraction(1, 1001))
    with pytest.raises(VideoError, match=r"its time base of 0\.001 s"):
        restore_video(source, tmp_path / "other.mp4", restorer)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_tags_that_are_not_unicode_are_kept(
    suffix: str, restorer: Restorer, tmp_path: Path
) -> None:
    title = b"caf\xe9".decode("utf-8", "surrogateescape")
    source = make_clip(tmp_path / f"in{suffix}", Clip(frames=3, title=title))
    target = tmp_path / f"out{suffix}"
    assert restore_video(source, target, restorer) is not None
    assert look(target).title == look(source).title == title


def test_a_header_that_claims_countless_frames_takes_no_memory(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(frames=3, audio=False))
    data = source.read_bytes()
    for box in (b"stsz", b"stts", b"stsc", b"ctts", b"stco", b"stss"):
        at = data.index(box)
        for value in (2**31 - 1, 2**32 - 1):
            for field in range(at + 8, at + 24, 4):
                claimed = data[:field] + struct.pack(">I", value) + data[field + 4 :]
                source.write_bytes(claimed)
                with contextlib.suppress(VideoError):
                    assert read_all(source) <= 3


def test_frames_like_the_one_before_are_reused_and_no_others(
    restorer: Restorer, tmp_path: Path
) -> None:
    shown = (0, 0, 5, 5, 5, 9, 0, 20, 20, 0)
    source = make_lossless(tmp_path / "in.mkv", shown)
    target = tmp_path / "out.mp4"
    result = restore_video(source, target, restorer, options=VideoOptions(skip_duplicates=True))
    assert result is not None
    assert result.reused == 4
    seen = look(target)
    assert seen.times == look(source).times
    inner = (slice(6, -6), slice(6, -6))
    pictures = {index: enlarged(picture(index, (64, 48)))[inner] for index in set(shown)}
    for index, found in zip(shown, seen.pictures, strict=True):
        alike = {which: psnr(expected, found[inner]) for which, expected in pictures.items()}
        assert max(alike, key=lambda which: alike[which]) == index
        assert alike[index] > 30


def test_the_first_frame_of_a_resumed_run_is_restored_even_if_it_is_like_the_one_before(
    restorer: Restorer, tmp_path: Path
) -> None:
    source = make_lossless(tmp_path / "in.mkv", (3,) * 8)
    target, seen = tmp_path / "out.mp4", list[int]()
    options = VideoOptions(segment_frames=4, skip_duplicates=True)
    restore_video(
        source,
        target,
        restorer,
        options=options,
        progress=lambda done, _total: seen.append(done),
        stop=lambda: len(seen) >= 6,
    )
    result = restore_video(source, target, restorer, options=options)
    assert result is not None
    assert (result.resumed, result.frames, result.reused) == (4, 8, 3)
    assert len(look(target).times) == 8


def make_lossless(path: Path, shown: tuple[int, ...]) -> Path:
    """A clip whose frames are equal where they show the same picture."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index, which in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(picture(which, (64, 48)), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def test_a_gap_of_many_gigabytes_is_not_read_to_its_end(
    restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_vp8(tmp_path / "in.mkv", [(64, 48)] * 5)
    os.truncate(source, 1 << 40)  # a hole, which takes no room on the disk
    monkeypatch.setattr("restora.video.source.TIMEOUT_S", 0.2)
    result = restore_video(source, tmp_path / "out.mp4", restorer)
    assert result is not None
    assert (result.frames, result.complete) == (5, False)
    assert "no packet was found within" in result.faults[0]


def test_the_decoder_itself_refuses_frames_past_the_limit(tmp_path: Path) -> None:
    source = join_clips(
        tmp_path / "in.ts",
        [Clip(frames=5, audio=False), Clip(frames=5, audio=False, size=(128, 96))],
    )
    for limit, frames in ((128 * 96 - 1, 5), (128 * 96, 10)):
        with open_video(source, max_pixels=limit) as container:
            reader = FrameReader(container)
            assert sum(1 for _ in reader) == frames
            assert bool(reader.damaged) == (frames == 5)
