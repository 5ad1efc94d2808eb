"""Facts about restored videos: every frame at its time, in its colors, beside its sound."""

from __future__ import annotations

import signal
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fakes import BatchingSession, restorer_of
from processes import run, start
from restora import Restorer
from restora.errors import MissingBackendError, OptionError, VideoError

av = pytest.importorskip("av")

from restora.video.options import VideoOptions  # noqa: E402
from restora.video.restore import restore_video  # noqa: E402
from restora.video.source import open_video  # noqa: E402
from video_clips import (  # noqa: E402
    BT709,
    BT2020_PQ,
    FRAME,
    Clip,
    enlarged,
    look,
    make_clip,
    psnr,
)

# what an older PyAV does not know it refuses, which is tested below
KNOWS_BT2020 = int(av.__version__.split(".")[0]) >= 18
CLIPS = {
    "constant": Clip(),
    "variable": Clip(steps=(FRAME, 3 * FRAME, FRAME // 2, 700)),
    "rotated": Clip(rotation=90),
    "ten bits": Clip(ten_bits=True, tags=BT2020_PQ if KNOWS_BT2020 else BT709),
    "full range": Clip(tags=(5, 2, 6, 6)),
    "tall": Clip(size=(34, 66)),
}


def test_tiles_of_different_frames_share_batches(tmp_path: Path) -> None:
    session = BatchingSession(tile=64, seconds=0.02)
    source = make_clip(tmp_path / "in.mp4", Clip(size=(64, 64)))
    with restorer_of(session) as restorer:
        result = restore_video(source, tmp_path / "out.mp4", restorer)
    assert result is not None
    assert result.frames == 20
    counts = [shape[0] for shape in session.shapes]
    assert sum(counts) == 20
    assert len(counts) <= 10
    for before, after in zip(
        look(source).pictures, look(tmp_path / "out.mp4").pictures, strict=True
    ):
        assert psnr(after, np.asarray(before.repeat(2, 0).repeat(2, 1))) > 30


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is an NVIDIA GPU here")
def test_devices_that_are_not_here_are_named_before_a_frame_is_restored(
    restorer: Restorer, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip())
    with pytest.raises(MissingBackendError, match="decoder device cuda does not start here"):
        restore_video(source, tmp_path / "out.mp4", restorer, options=VideoOptions(hardware="cuda"))
    with pytest.raises(MissingBackendError, match="encoder h264_nvenc does not start here"):
        restore_video(
            source, tmp_path / "out.mp4", restorer, options=VideoOptions(encoder="h264_nvenc")
        )
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_colors_that_this_pyav_would_change_are_refused(
    restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(ten_bits=True, tags=BT2020_PQ))
    monkeypatch.setattr(av, "__version__", "17.1.0")
    with pytest.raises(VideoError, match=r"BT\.2020 colors need PyAV 18"):
        restore_video(source, tmp_path / "out.mp4", restorer)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", CLIPS)
def test_everything_is_kept_but_the_size(
    name: str, suffix: str, restorer: Restorer, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / f"in{suffix}", CLIPS[name])
    target = tmp_path / f"out{suffix}"
    result = restore_video(source, target, restorer, options=VideoOptions(segment_frames=7))
    assert result is not None
    assert result.complete
    assert result.left_out == ()
    before, after = look(source), look(target)
    assert result.frames == len(after.times) == len(before.times) == 20
    # Matroska counts in milliseconds
    allowed = Fraction(0) if suffix == ".mp4" else Fraction(1, 1000)
    drift = [abs(one - other) for one, other in zip(before.times, after.times, strict=True)]
    assert max(drift) <= allowed
    assert after.copied == before.copied
    assert after.copied["audio"]
    assert (after.pixels, after.rotation, after.tags) == (
        before.pixels,
        before.rotation,
        before.tags,
    )
    assert after.chapters == ["one"]
    assert after.title == "a clip"
    inner = (slice(4, -4), slice(4, -4))  # the network darkens the border
    least = min(
        psnr(enlarged(one)[inner], other[inner])
        for one, other in zip(before.pictures, after.pictures, strict=True)
    )
    assert least > 34


def test_subtitles_are_copied_and_what_cannot_be_kept_is_said(
    restorer: Restorer, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "in.mkv", Clip(subtitles=True, frames=6))
    restore_video(source, tmp_path / "out.mkv", restorer)
    assert look(tmp_path / "out.mkv").copied == look(source).copied
    assert [text for _, text in look(source).copied["subtitle"]] == [b"at 0", b"at 300"]
    result = restore_video(source, tmp_path / "out.mp4", restorer)
    assert result is not None
    (words,) = result.left_out
    assert "subtitle" in words
    assert "mp4" in words


def test_frames_like_the_one_before_are_reused_when_asked(
    restorer: Restorer, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "in.mkv", Clip(still=True, audio=False))
    plain = restore_video(source, tmp_path / "plain.mp4", restorer)
    reused = restore_video(
        source, tmp_path / "reused.mp4", restorer, options=VideoOptions(skip_duplicates=True)
    )
    assert plain is not None
    assert reused is not None
    assert plain.reused == 0
    assert reused.reused > 5
    assert look(tmp_path / "plain.mp4").times == look(tmp_path / "reused.mp4").times


def test_a_run_that_was_ended_goes_on_and_gives_the_same_file(
    restorer: Restorer, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip())
    whole, parts = tmp_path / "whole.mp4", tmp_path / "parts.mp4"
    restore_video(source, whole, restorer, options=VideoOptions(segment_frames=6))
    seen: list[int] = []
    ended = restore_video(
        source,
        parts,
        restorer,
        options=VideoOptions(segment_frames=6),
        progress=lambda done, _total: seen.append(done),
        stop=lambda: len(seen) >= 14,
    )
    assert ended is None
    assert not parts.exists()
    result = restore_video(source, parts, restorer, options=VideoOptions(segment_frames=6))
    assert result is not None
    assert (result.resumed, result.frames) == (12, 20)
    assert parts.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_segments_of_other_settings_are_not_used(restorer: Restorer, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip())
    seen: list[int] = []
    target = tmp_path / "out.mp4"
    restore_video(
        source,
        target,
        restorer,
        options=VideoOptions(segment_frames=6),
        progress=lambda done, _total: seen.append(done),
        stop=lambda: len(seen) >= 14,
    )
    result = restore_video(source, target, restorer, options=VideoOptions(segment_frames=6, crf=30))
    assert result is not None
    assert result.resumed == 0


def test_a_file_that_ends_early_is_restored_as_far_as_it_goes_and_said(
    model: Path, tmp_path: Path
) -> None:
    faststart = Clip(audio=False, frames=40, options=(("movflags", "faststart"),))
    whole = make_clip(tmp_path / "whole.mp4", faststart).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    result = run(tmp_path, "video", "-i", "cut.mp4", "-o", "out.mp4", "-n", model)
    assert result.returncode == 3, result.stderr
    assert "the file states 40" in result.stderr
    assert 5 < len(look(tmp_path / "out.mp4").times) < 40


def test_what_is_no_video_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://example.invalid/a.ts\n")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    make_clip(tmp_path / "whole.mp4", Clip(frames=3))
    (tmp_path / "tail.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:900])
    for name in ("text.mp4", "list.m3u8", "list.mp4", "tail.mp4", "absent.mp4"):
        with pytest.raises(VideoError), open_video(tmp_path / name):
            pass
        result = run(tmp_path, "video", "-i", name, "-o", "out.mp4", "-n", model)
        assert result.returncode == 4, result.stderr
        assert not (tmp_path / "out.mp4").exists()


def test_encoders_and_formats_are_checked_before_any_work(
    restorer: Restorer, model: Path, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(frames=3))
    with pytest.raises(OptionError, match="must end in"):
        restore_video(source, tmp_path / "out.gif", restorer)
    with pytest.raises(OptionError, match="encoder must be one of"):
        restore_video(
            source, tmp_path / "o.mp4", restorer, options=VideoOptions(encoder="rawvideo")
        )
    existing = run(tmp_path, "video", "-i", "in.mp4", "-o", "in.mp4", "-n", model)
    assert existing.returncode == 2
    same = run(tmp_path, "video", "-i", "in.mp4", "-o", "in.mp4", "-n", model, "--overwrite")
    assert same.returncode == 2
    assert "its own source" in same.stderr


def test_paths_are_texts_too_and_the_command_takes_tiles_as_restore_does(
    restorer: Restorer, model: Path, tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(frames=3, audio=False))
    result = restore_video(str(source), str(tmp_path / "out.mp4"), restorer)
    assert result is not None
    assert result.frames == 3
    words = ("video", "-i", "in.mp4", "-n", model, "--backend", "cpu")
    for tile in ("auto", "0", "32"):
        done = run(tmp_path, *words, "-o", f"{tile}.mp4", "--tile", tile)
        assert done.returncode == 0, done.stderr
    wrong = run(tmp_path, *words, "-o", "x.mp4", "--tile", "half")
    assert wrong.returncode == 2
    assert "--tile must be auto, 0 or a number" in wrong.stderr


def test_other_encoders_work(restorer: Restorer, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(frames=5, audio=False))
    restore_video(source, tmp_path / "out.webm", restorer)
    hevc = VideoOptions(encoder="libx265", crf=20, preset="ultrafast")
    restore_video(source, tmp_path / "out.mov", restorer, options=hevc)
    for name in ("out.webm", "out.mov"):
        assert len(look(tmp_path / name).times) == 5


def test_the_command_resumes_after_it_was_killed(model: Path, tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", Clip(frames=60, size=(480, 320)))
    words = ["video", "-i", "in.mp4", "-o", "out.mp4", "-n", model, "--segment-frames", "5"]
    words += ["--backend", "cpu"]
    folder = tmp_path / ".out.mp4.segments"
    process = start(tmp_path, *words)
    while process.poll() is None and len(list(folder.glob("segment-*.bin"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out.mp4").exists()
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "by an earlier run" in done.stderr
    assert look(tmp_path / "out.mp4").times == look(tmp_path / "in.mp4").times
