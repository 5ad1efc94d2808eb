"""Facts about files that would make FFmpeg allocate gigabytes: a child process finds them."""

from __future__ import annotations

import os
import resource
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from restora.child import Child
from restora.errors import VideoError

pytest.importorskip("av")

from restora.video import trial
from restora.video.source import open_video
from video_clips import Clip, make_clip

FRAGMENTS = (("movflags", "frag_every_frame+empty_moov"),)


def large_tag(path: Path) -> Path:
    """An AVI with a tag of a gigabyte, it says."""
    data = bytearray(make_clip(path.with_suffix(".avi"), Clip(frames=5, audio=False)).read_bytes())
    at = data.index(b"INFO")
    data[at - 4 : at] = struct.pack("<I", 0x3FFFFFFF)
    data[at + 8 : at + 12] = struct.pack("<I", 0x3FFFFF00)
    return write(path.with_suffix(".avi"), data)


def many_samples(path: Path) -> Path:
    """An MP4 of 64 million frames in one chunk, it says: of one byte each, so no table is needed"""
    data = bytearray(make_clip(path.with_suffix(".mp4"), Clip(frames=5, audio=False)).read_bytes())
    sizes, chunks = data.index(b"stsz") + 8, data.index(b"stsc") + 16
    data[sizes : sizes + 8] = struct.pack(">II", 1, 1 << 26)
    data[chunks : chunks + 4] = struct.pack(">I", 1 << 26)
    return write(path.with_suffix(".mp4"), data)


def large_fragment(path: Path) -> Path:
    """An MP4 of fragments, the last of which holds 80 million frames, it says."""
    clip = Clip(frames=5, audio=False, options=FRAGMENTS)
    data = bytearray(make_clip(path.with_suffix(".mp4"), clip).read_bytes())
    at = data.rindex(b"trun") + 4
    data[at : at + 8] = struct.pack(">II", 1, 5 << 24)
    return write(path.with_suffix(".mp4"), data)


def write(path: Path, data: bytearray) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("make", [large_tag, many_samples, large_fragment])
def test_a_small_file_that_claims_much_is_refused_before_memory_is_taken(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    source = make(tmp_path / "in")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(VideoError, match=r"in\..* takes more than 128 MB"), open_video(source):
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KB


def test_a_file_that_passed_is_tried_again_when_it_has_changed(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(frames=5, audio=False))
    with open_video(source):
        pass
    many_samples(tmp_path / "in")
    with pytest.raises(VideoError, match="takes more than"), open_video(source):
        pass


def test_a_file_that_passed_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(frames=5, audio=False))
    with open_video(source):
        pass

    def fail(function: str) -> Child:
        raise AssertionError(function)

    trial._close()
    monkeypatch.setattr(trial, "Child", fail)
    with open_video(source) as container:
        assert container.streams.video


def test_a_crash_of_the_child_is_an_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(frames=5, audio=False))
    trial._close()
    monkeypatch.setattr(trial, "_SERVE", f"{__name__}:crash")
    monkeypatch.syspath_prepend(Path(__file__).parent)
    with pytest.raises(VideoError, match="FFmpeg crashes on it"), open_video(source):
        pass


def test_a_child_that_ended_while_it_was_idle_is_replaced(tmp_path: Path) -> None:
    first = make_clip(tmp_path / "first.mp4", Clip(frames=5, audio=False))
    second = make_clip(tmp_path / "second.mp4", Clip(frames=5, audio=False))
    with open_video(first):
        pass
    (child,) = trial._children
    child.process.kill()
    child.process.wait()
    with open_video(second) as container:
        assert container.streams.video


def crash(connection: object) -> None:
    """Runs in the child."""
    connection.recv()  # type: ignore[attr-defined]
    connection.send(0)  # type: ignore[attr-defined]
    os._exit(9)
