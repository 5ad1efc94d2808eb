"""Facts about where a video is written: never over something else, and whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import run, start
from restora import Restorer
from restora.errors import DiskFullError, OptionError, OutputError, UnsafePathError, VideoError
from restora.jobs.lock import output_lock

av = pytest.importorskip("av")

from restora.video import join as join_module  # noqa: E402
from restora.video import target as target_module  # noqa: E402
from restora.video.options import VideoOptions  # noqa: E402
from restora.video.restore import restore_video  # noqa: E402
from restora.video.target import whole_file  # noqa: E402
from video_clips import Clip, look, make_clip  # noqa: E402


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "in.mp4", Clip(frames=6))


def never(_done: int, _total: int | None) -> None:
    raise AssertionError("a frame was restored")


def test_a_second_run_of_the_same_result_is_refused_and_touches_nothing(
    source: Path, restorer: Restorer, tmp_path: Path
) -> None:
    target = tmp_path / "out.mp4"
    folder = tmp_path / ".out.mp4.segments"
    before: dict[str, bytes] = {}
    tried: list[int] = []

    def try_another(done: int, _total: int | None) -> None:
        if done != 4:
            return
        before.update({path.name: path.read_bytes() for path in folder.iterdir()})
        for overwrite in (False, True):
            with pytest.raises(OptionError, match=r"another run is writing .*out\.mp4"):
                restore_video(
                    source,
                    target,
                    restorer,
                    options=VideoOptions(segment_frames=2, overwrite=overwrite),
                    progress=never,
                )
        assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
        tried.append(done)

    result = restore_video(
        source, target, restorer, options=VideoOptions(segment_frames=2), progress=try_another
    )
    assert result is not None
    assert tried == [4]
    assert "segment-000000.bin" in before
    assert look(target).times == look(source).times
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_the_command_ends_with_2_while_another_run_writes_the_result(
    source: Path, model: Path, tmp_path: Path
) -> None:
    with output_lock(tmp_path / "out.mp4"):
        result = run(tmp_path, "video", "-i", source, "-o", "out.mp4", "-n", model)
    assert result.returncode == 2, result.stderr
    assert "another run is writing" in result.stderr
    assert not (tmp_path / "out.mp4").exists()
    assert not (tmp_path / ".out.mp4.segments").exists()


def test_of_many_commands_that_start_at_once_one_writes_the_whole_result(
    model: Path, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(frames=60, size=(160, 120)))
    words = ["video", "-i", source, "-o", "out.mp4", "-n", model, "--segment-frames", "5"]
    processes = [start(tmp_path, *words, "--backend", "cpu") for _ in range(3)]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    assert sorted(code for _, code in ends) == [0, 2, 2], ends
    assert look(tmp_path / "out.mp4").times == look(source).times
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_result_that_is_there_is_replaced_only_when_asked(
    source: Path, restorer: Restorer, tmp_path: Path
) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("precious")
    with pytest.raises(OptionError, match="exists already"):
        restore_video(source, target, restorer, progress=never)
    assert target.read_text() == "precious"
    assert restore_video(source, target, restorer, options=VideoOptions(overwrite=True)) is not None
    assert len(look(target).times) == 6


@pytest.mark.parametrize("way", ["itself", "hard link", "dots"])
def test_a_source_is_never_its_own_result(
    way: str, source: Path, restorer: Restorer, tmp_path: Path
) -> None:
    target = {
        "itself": source,
        "hard link": tmp_path / "other.mp4",
        "dots": tmp_path / "folder" / ".." / "in.mp4",
    }[way]
    (tmp_path / "folder").mkdir()
    if way == "hard link":
        target.hardlink_to(source)
    before = source.read_bytes()
    with pytest.raises(OptionError, match="its own source"):
        restore_video(
            source, target, restorer, options=VideoOptions(overwrite=True), progress=never
        )
    assert source.read_bytes() == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_place_of_the_result_is_refused(
    dangling: bool, overwrite: bool, source: Path, restorer: Restorer, tmp_path: Path
) -> None:
    victim, target = tmp_path / "victim", tmp_path / "out.mp4"
    if not dangling:
        victim.write_text("precious")
    target.symlink_to(victim)
    with pytest.raises(UnsafePathError, match="is a link"):
        restore_video(
            source, target, restorer, options=VideoOptions(overwrite=overwrite), progress=never
        )
    assert victim.exists() != dangling
    assert target.is_symlink()


def test_no_link_beside_the_result_is_written_through(
    source: Path, restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(target_module.secrets, "token_hex", lambda _: "01234567")
    planted = tmp_path / ".out.mp4.part"
    planted.symlink_to(victim)
    restore_video(source, tmp_path / "out.mp4", restorer)
    assert victim.read_text() == "precious"
    # even one whose name was guessed
    planted = tmp_path / ".other.mp4.01234567.part"
    monkeypatch.setattr(target_module, "_remove_leftovers", lambda _: planted.symlink_to(victim))
    with pytest.raises(OutputError, match="File exists"):
        restore_video(source, tmp_path / "other.mp4", restorer)
    assert victim.read_text() == "precious"


def test_what_a_killed_run_left_half_written_is_removed_by_the_next(
    source: Path, restorer: Restorer, tmp_path: Path
) -> None:
    left = tmp_path / ".out.mp4.0a1b2c3d.part"
    others = [tmp_path / name for name in (".out.mp4.part", ".out.mp4.mp4.0a1b2c3d.part")]
    for path in (left, *others):
        path.write_text("half")
    restore_video(source, tmp_path / "out.mp4", restorer)
    assert not left.exists()
    assert all(path.exists() for path in others)


def test_an_output_that_cannot_be_made_ends_the_command_with_6(
    source: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dir.mp4").mkdir()
    targets = [Path("/proc/x/v.mp4"), Path("/proc/v.mp4"), Path("file/v.mp4")]
    targets += [Path("n" * 252 + ".mp4"), Path("dir.mp4")]
    for target in targets:
        result = run(tmp_path, "video", "-i", source, "-o", target, "-n", model, "--overwrite")
        assert result.returncode == 6, (target, result.stderr)
        assert "Traceback" not in result.stderr
        assert "cannot be" in result.stderr.replace("\n", " ")
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    "stem",
    ["a" * 251, "漢" * 83, "é" * 125, "n" * 241, "a:b", "rtp:x", "-v", "%03d", "a\nb"],
)
def test_any_name_that_the_file_system_takes_is_written(
    stem: str, ending: str, restorer: Restorer, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / f"{stem}{ending}", Clip(frames=6))
    (tmp_path / "results").mkdir()
    target = tmp_path / "results" / source.name
    assert (
        restore_video(source, target, restorer, options=VideoOptions(segment_frames=2)) is not None
    )
    assert look(target).times == look(source).times
    assert [path.name for path in target.parent.iterdir()] == [source.name]


def test_relative_names_with_a_colon_work(
    restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = make_clip(Path("http:in.mp4"), Clip(frames=3))
    assert restore_video(source, Path("12:30.mp4"), restorer) is not None
    assert len(look(tmp_path / "12:30.mp4").times) == 3


def test_what_the_format_cannot_hold_is_found_before_a_frame_is_restored(
    source: Path, restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OptionError, match=r"\.webm does not hold what libx264 encodes"):
        restore_video(
            source,
            tmp_path / "out.webm",
            restorer,
            options=VideoOptions(encoder="libx264"),
            progress=never,
        )

    def refuse(*_: object, **__: object) -> Any:
        raise ValueError("no such tag")

    monkeypatch.setattr(join_module, "add_video", refuse)
    with pytest.raises(VideoError, match=r"cannot be written to a \.mp4 file \(no such tag\)"):
        restore_video(source, tmp_path / "out.mp4", restorer, progress=never)


def test_sound_that_the_format_refuses_is_left_out_and_said(
    source: Path,
    restorer: Restorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> dict[int, Any]:
        raise ValueError("no such sound")

    monkeypatch.setattr(join_module, "_add_copies", refuse)
    target = tmp_path / "out.mp4"
    result = restore_video(source, target, restorer)
    assert result is not None
    assert not result.complete
    assert result.faults == ("audio and subtitles cannot be copied: no such sound",)
    assert "cannot be copied: no such sound" in caplog.messages[0]  # before the frames
    assert look(target).times == look(source).times
    assert look(target).copied == {}


@pytest.mark.parametrize("late", [False, True])
def test_sound_that_cannot_be_read_or_written_to_its_end_ends_there_and_is_said(
    late: bool,
    source: Path,
    restorer: Restorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    demux = join_module.Timeline.demux

    def demux_some(self: Any, streams: Any) -> Iterator[Any]:
        for count, packet in enumerate(demux(self, streams)):
            if count == 3 and packet.stream.type == "audio":
                if not late:
                    raise ValueError("unreadable")
                packet.pts = packet.dts = 2**62  # no format takes it
            yield packet

    monkeypatch.setattr(join_module.Timeline, "demux", demux_some)
    target = tmp_path / "out.mp4"
    result = restore_video(source, target, restorer)
    assert result is not None
    assert not result.complete
    assert len(result.faults) == 1
    seen, whole = look(target), look(source)
    assert seen.times == whole.times
    sound, all_sound = seen.copied["audio"], whole.copied["audio"]
    assert sound[:3] == all_sound[:3]
    if late:
        assert "whose time is damaged" in result.faults[0]
        assert [data for _, data in sound] == [data for _, data in all_sound]
        assert sound[4:] == all_sound[4:]
    else:
        assert len(sound) == 3


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
@pytest.mark.parametrize("back", [1024, 3000])
def test_sound_whose_times_go_back_is_copied_all_the_same(
    back: int,
    ending: str,
    source: Path,
    restorer: Restorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    demux = join_module.Timeline.demux

    def demux_back(self: Any, streams: Any) -> Iterator[Any]:
        for count, packet in enumerate(demux(self, streams)):
            if packet.stream.type == "audio" and count == 5:
                packet.dts -= back
                packet.pts -= back
            yield packet

    monkeypatch.setattr(join_module.Timeline, "demux", demux_back)
    target = tmp_path / f"out{ending}"
    result = restore_video(source, target, restorer)
    assert result is not None
    assert result.complete
    sound, whole = (look(path).copied["audio"] for path in (target, source))
    assert [data for _, data in sound] == [data for _, data in whole]
    assert [time for time, _ in sound] == sorted(time for time, _ in sound)


class FullDisk:
    """A file on a disk with room for so many bytes."""

    def __init__(self, stream: Any, room: int) -> None:
        self._stream, self._room = stream, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, data: memoryview) -> int:
        part = data[: max(0, self._room)]
        if not part:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= len(part)
        return int(self._stream.write(part))


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("room", [0, 100, 3000])
def test_a_disk_that_fills_up_while_the_result_is_joined_leaves_no_partial_result(
    room: int,
    ending: str,
    source: Path,
    restorer: Restorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / f"out{ending}"
    with monkeypatch.context() as patch:
        opened: Callable[..., Any] = os.fdopen
        patch.setattr(
            target_module.os,
            "fdopen",
            lambda *words, **options: FullDisk(opened(*words, **options), room),
        )
        with pytest.raises(DiskFullError, match="No space left"):
            restore_video(source, target, restorer)
    folder = target.with_name(f".{target.name}.segments")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, "in.mp4"])
    assert "Traceback" not in capfd.readouterr().err
    result = restore_video(source, target, restorer)
    assert result is not None
    assert result.resumed == 6
    assert look(target).times[-1] > 0


@pytest.mark.parametrize("late", [0, 2])
def test_an_interruption_while_the_result_is_written_ends_the_run(
    late: int, source: Path, restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(FullDisk):
        def write(self, data: memoryview) -> int:
            self._room -= 1
            if self._room < 0:
                raise KeyboardInterrupt
            return int(self._stream.write(data))

    opened: Callable[..., Any] = os.fdopen
    with monkeypatch.context() as patch:
        patch.setattr(
            target_module.os,
            "fdopen",
            lambda *words, **options: Interrupted(opened(*words, **options), late),
        )
        with pytest.raises(KeyboardInterrupt):
            restore_video(source, tmp_path / "out.mp4", restorer)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.mp4.segments", "in.mp4"]


def test_a_disk_that_fills_up_while_a_segment_is_written_leaves_those_before(
    source: Path, restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from restora.video import segments

    write = segments.write_atomically

    def write_or_fail(path: Path, data: Any, **options: Any) -> None:
        if path.name == "segment-000002.bin":
            raise DiskFullError(f"{path} cannot be written: No space left on device")
        write(path, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr(segments, "write_atomically", write_or_fail)
        with pytest.raises(DiskFullError):
            restore_video(
                source, tmp_path / "out.mp4", restorer, options=VideoOptions(segment_frames=2)
            )
    assert not (tmp_path / "out.mp4").exists()
    result = restore_video(
        source, tmp_path / "out.mp4", restorer, options=VideoOptions(segment_frames=2)
    )
    assert result is not None
    assert (result.resumed, result.frames) == (4, 6)


def test_an_error_in_the_body_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half() -> None:
        with whole_file(path) as stream:
            stream.write(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert path.read_text() == "old"
    with whole_file(path) as stream:
        stream.write(b"new")
    assert path.read_text() == "new"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_run_that_is_ended_leaves_no_lock_and_no_result(model: Path, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(frames=200, size=(320, 240)))
    folder = tmp_path / ".out.mp4.segments"
    words = ["video", "-i", source, "-o", "out.mp4", "-n", model, "--segment-frames", "5"]
    process = start(tmp_path, *words, "--backend", "cpu")
    while process.poll() is None and not list(folder.glob("segment-*.bin")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, words_of_it = process.communicate()
    assert process.returncode == 143, words_of_it
    assert not (tmp_path / "out.mp4").exists()
    assert not list(tmp_path.glob(".*.part"))
    result = run(tmp_path, *words, "--backend", "cpu")
    assert result.returncode == 0, result.stderr
    assert "by an earlier run" in result.stderr
    assert look(tmp_path / "out.mp4").times == look(source).times
