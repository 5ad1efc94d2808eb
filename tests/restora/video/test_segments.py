"""Facts about what an interrupted run leaves: what is used again, and what is not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restora import Restorer
from restora.errors import OutputError, UnsafePathError, VideoError
from restora.jobs.disk import digest_of_file, fingerprint
from restora.jobs.journal import Journal
from restora.options import RestoreOptions

av = pytest.importorskip("av")

from restora.video.options import VideoOptions  # noqa: E402
from restora.video.restore import restore_video  # noqa: E402
from restora.video.segment_file import Encoded  # noqa: E402
from restora.video.segments import JOURNAL, SegmentStore  # noqa: E402
from video_clips import Clip, look, make_clip, psnr  # noqa: E402

FRAMES = 6  # of a segment


def interrupt(source: Path, target: Path, restorer: Restorer, **options: Any) -> Path:
    """Two segments of six frames, and one that is not finished. Returns their folder."""
    seen: list[int] = []
    ended = restore_video(
        source,
        target,
        restorer,
        options=VideoOptions(segment_frames=FRAMES),
        progress=lambda done, _total: seen.append(done),
        stop=lambda: len(seen) >= 14,
        **options,
    )
    assert ended is None
    return target.with_name(f".{target.name}.segments")


def journal_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]


def trust(path: Path) -> None:
    """Let the journal record a segment's file as it is now."""
    with contextlib.closing(Journal(path.parent / JOURNAL)) as journal:
        past = journal.record(path.name)
        assert past is not None
        journal.begin(path.name, recipe=past.recipe, stamp=past.stamp)
        digest, made = digest_of_file(path), list(fingerprint(path))
        journal.end(path.name, "restored", output=path.name, sha256=digest, made=made)


def assert_same_frames(one: Path, other: Path) -> None:
    """Decoded: of frames that small, x264 and x265 do not always make the same bytes."""
    found, expected = look(one), look(other)
    assert found.times == expected.times
    pairs = zip(found.pictures, expected.pictures, strict=True)
    assert min(psnr(first, second) for first, second in pairs) > 36


def signed(body: bytes) -> bytes:
    return hashlib.sha256(body).digest() + body


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def flip_a_time(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[32 + 16 + 3] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def cut_to(size: int) -> Callable[[Path], None]:
    def to(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:size])

    return to


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def write(data: bytes) -> Callable[[Path], None]:
    def to(path: Path) -> None:
        path.write_bytes(data)

    return to


def claim(frames: int, packets: int, size: int = 0) -> Callable[[Path], None]:
    """A file with a right digest that claims so much, and a first packet of `size` bytes."""
    row = struct.pack("<5q", 0, 0, 1, size, 1)
    return write(signed(struct.pack("<2q", frames, packets) + row))


def hold(frames: int, sizes: list[int], data: bytes = b"") -> Callable[[Path], None]:
    """A file with a right digest, of packets that claim these sizes."""
    body = struct.pack("<2q", frames, len(sizes))
    body += b"".join(struct.pack("<5q", 0, 0, 1, size, 1) for size in sizes)
    return write(signed(body + data))


def make_sparse(path: Path) -> None:
    path.write_bytes(bytes(32) + struct.pack("<2q", 6, 10**9))
    os.truncate(path, 48 + 40 * 10**9)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a bit of the last packet": flip_last_byte,
    "a bit of the first time": flip_a_time,
    "its end is missing": cut,
    "nothing is there": cut_to(0),
    "half a digest": cut_to(16),
    "no rows": cut_to(50),
    "bytes too many": lengthen,
    "text": write(b"no segment at all" * 9),
    "more frames than a segment has": claim(10**12, 1),
    "no frame": claim(0, 1),
    "more packets than there is room for": claim(6, 20),
    "an absurd number of packets": claim(6, 2**62),
    "a negative number of packets": claim(6, -1),
    "a packet longer than the file": claim(6, 1, 2**40),
    "a packet of negative length": hold(6, [-2, 5], b"abc"),
    "more packets than frames explain": hold(1, [0] * 5),
    "40 GB that are not there": make_sparse,
    "a pipe": replace_by_pipe,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_segment_and_those_after_it_are_made_again(
    number: int,
    damage: str,
    restorer: Restorer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Clip()), tmp_path / "out.mp4"
    folder = interrupt(source, target, restorer)
    path = folder / f"segment-{number:06}.bin"
    DAMAGE[damage](path)
    if path.is_file() and path.stat().st_size < 1 << 20:
        trust(path)  # so that only what it holds can show the damage
    result = restore_video(source, target, restorer, options=VideoOptions(segment_frames=FRAMES))
    assert result is not None
    assert result.resumed == FRAMES * number
    assert "made again" in caplog.text
    restore_video(
        source, tmp_path / "whole.mp4", restorer, options=VideoOptions(segment_frames=FRAMES)
    )
    assert_same_frames(target, tmp_path / "whole.mp4")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"\xff\xfe{" * 50),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.write_text("[" * 100_000),
        lambda path: os.truncate(path, 10**11),
        replace_by_pipe,
    ],
)
def test_a_damaged_journal_throws_the_segments_away(
    damage: Callable[[Path], object], restorer: Restorer, tmp_path: Path
) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Clip()), tmp_path / "out.mp4"
    damage(interrupt(source, target, restorer) / JOURNAL)
    result = restore_video(source, target, restorer, options=VideoOptions(segment_frames=FRAMES))
    assert result is not None
    assert result.resumed == 0
    assert look(target).times == look(source).times


def test_later_segments_of_an_older_run_do_not_come_after_newer_ones(
    restorer: Restorer, tmp_path: Path
) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Clip()), tmp_path / "out.mp4"
    folder = interrupt(source, target, restorer)
    third = folder / "segment-000003.bin"
    third.write_bytes((folder / "segment-000001.bin").read_bytes())
    (folder / "segment-000000.bin").write_bytes(b"")
    result = restore_video(source, target, restorer, options=VideoOptions(segment_frames=FRAMES))
    assert result is not None
    assert result.frames == len(look(target).times) == 20


def test_what_is_no_segment_stays_in_the_folder(restorer: Restorer, tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Clip(frames=6)), tmp_path / "out.mp4"
    folder = tmp_path / ".out.mp4.segments"
    folder.mkdir()
    (folder / "letter.txt").write_text("of somebody else")
    restore_video(source, target, restorer)
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("what", ["folder", "recipe.json", JOURNAL, "segment-000000.bin"])
def test_a_link_among_the_segments_is_never_written_through(
    what: str, restorer: Restorer, tmp_path: Path
) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Clip(frames=6)), tmp_path / "out.mp4"
    folder, victim = tmp_path / ".out.mp4.segments", tmp_path / "victim"
    if what == "folder":
        victim.mkdir()
        (victim / "segment-000000.bin").write_text("precious")
        folder.symlink_to(victim)
        with pytest.raises(UnsafePathError, match="must be a folder"):
            restore_video(source, target, restorer)
        assert (victim / "segment-000000.bin").read_text() == "precious"
        assert [path.name for path in victim.iterdir()] == ["segment-000000.bin"]
        return
    victim.write_text("precious")
    folder.mkdir()
    (folder / what).symlink_to(victim)
    restore_video(source, target, restorer)
    assert victim.read_text() == "precious"
    assert len(look(target).times) == 6


def open_store(folder: Path, of: int = 1, max_frames: int = 5) -> SegmentStore:
    return SegmentStore(folder, {"of": of}, stamp=(1, 2), max_frames=max_frames)


def add(store: SegmentStore, packets: list[Encoded], frames: int) -> None:
    store.begin()
    store.append(packets, frames=frames)


def test_a_segment_that_changes_during_the_run_ends_it_with_a_typed_error(
    tmp_path: Path,
) -> None:
    with open_store(tmp_path / "segments") as store:
        add(store, [Encoded(b"abc", 0, 0, 1, True)], 1)
        flip_last_byte(tmp_path / "segments" / "segment-000000.bin")
        with pytest.raises(OutputError, match="changed during the run"):
            list(store.packets())


def test_a_packet_of_absurd_size_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "segments"
    with open_store(folder) as store:
        add(store, [Encoded(b"abcd", 0, 0, 1, True)], 1)
    for most, finished in ((4, 1), (3, 0)):
        monkeypatch.setattr("restora.video.segment_file._MAX_BYTES", most)
        with open_store(folder) as store:
            assert store.finished == finished
    assert "do not match the file" in caplog.text


def test_the_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    first = [Encoded(b"abc", 4, 0, 2, True), Encoded(b"", 2, 2, 2, False)]
    second = [Encoded(b"de", 8, 1, 2, True), Encoded(b"f", 12, 9, 2, False)]
    with open_store(tmp_path / "segments") as store:
        add(store, first, 2)
        add(store, second, 5)
    with open_store(tmp_path / "segments") as again:
        assert (again.finished, again.frames) == (2, 7)
        found = [(p.data, p.pts, p.dts, p.duration, p.key) for p in again.packets()]
    assert found == [
        (b"abc", 4, 0, 2, True),
        (b"", 2, 2, 2, False),
        (b"de", 8, 3, 2, True),  # times of decoding grow
        (b"f", 12, 9, 2, False),
    ]
    with open_store(tmp_path / "segments", of=2) as other:
        assert other.finished == 0


def test_a_sound_segment_that_the_journal_does_not_know_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "segments"
    for data in (b"one", b"two"):
        with open_store(folder) as store:
            add(store, [Encoded(data, 0, 0, 1, True)], 1)
    second = (folder / "segment-000001.bin").read_bytes()
    (folder / "segment-000000.bin").write_bytes(second)
    with open_store(folder) as store:
        assert store.finished == 0
    assert "is not the one that was written" in caplog.text
    (folder / "segment-000000.bin").write_bytes(second)
    with open_store(folder) as store:
        assert store.finished == 0
        assert not list(folder.glob("segment-*"))


def test_a_copy_of_the_folder_is_as_good(tmp_path: Path) -> None:
    with open_store(tmp_path / "segments") as store:
        add(store, [Encoded(b"one", 0, 0, 1, True)], 1)
    shutil.copytree(tmp_path / "segments", tmp_path / "copy", copy_function=shutil.copyfile)
    with open_store(tmp_path / "copy") as store:
        assert store.finished == 1


def test_segments_of_the_version_without_a_journal_are_used(tmp_path: Path) -> None:
    folder = tmp_path / "segments"
    with open_store(folder) as store:
        for number in range(3):
            add(store, [Encoded(b"one", number, number, 1, True)], 2)
    (folder / JOURNAL).unlink()
    (folder / "recipe.json").write_text('{"of": 1}')  # as it was written there
    cut(folder / "segment-000002.bin")
    with open_store(folder) as store:
        assert (store.finished, store.frames) == (2, 4)
        assert {path.name for path in folder.glob("[!.]*")} == {
            JOURNAL, "segment-000000.bin", "segment-000001.bin",
        }  # fmt: skip
    with open_store(folder, of=2) as store:
        assert store.finished == 0


def test_the_journal_records_what_was_begun_finished_and_stopped(
    restorer: Restorer, tmp_path: Path
) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Clip()), tmp_path / "out.mp4"
    rows = journal_rows(interrupt(source, target, restorer))
    names = [f"segment-{number:06}.bin" for number in range(3)]
    assert [(row["event"], row["input"], row.get("status")) for row in rows] == [
        ("begin", names[0], None), ("end", names[0], "restored"),
        ("begin", names[1], None), ("end", names[1], "restored"),
        ("begin", names[2], None), ("end", names[2], "interrupted"),
    ]  # fmt: skip
    assert {tuple(row["stamp"]) for row in rows if row["event"] == "begin"} == {fingerprint(source)}


def test_an_error_is_recorded_with_its_reason(tmp_path: Path) -> None:
    def fail() -> None:
        with open_store(tmp_path / "segments") as store:
            store.begin()
            raise VideoError("frame 7 is damaged")

    with pytest.raises(VideoError):
        fail()
    row = journal_rows(tmp_path / "segments")[-1]
    assert (row["status"], row["error_type"], row["reason"]) == (
        "failed", "VideoError", "frame 7 is damaged",
    )  # fmt: skip


def test_runs_that_were_killed_are_counted_against_the_frames_that_they_were_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "segments"
    with open_store(folder) as store:
        add(store, [Encoded(b"one", 0, 0, 1, True)], 5)
    for _ in range(2):
        store = open_store(folder)
        store.begin()
        store._journal._held.close()  # as a killed process leaves it
    with open_store(folder) as store:
        assert store.finished == 1
    assert "crashes at frames 5 to 9 of this video: 2" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"outscale": 1.0},
        {"crf": 30},
        {"preset": "fast"},
        {"encoder": "libx265"},
        {"segment_frames": 5},
    ],
)
def test_a_run_with_other_settings_uses_no_segment_of_the_one_before(
    changes: dict[str, Any], restorer: Restorer, tmp_path: Path
) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Clip()), tmp_path / "out.mp4"
    options = VideoOptions(**{"segment_frames": FRAMES, **changes})
    interrupt(source, target, restorer)
    result = restore_video(source, target, restorer, options=options)
    assert result is not None
    assert (result.resumed, result.frames) == (0, 20)
    whole = tmp_path / "whole.mp4"
    restore_video(source, whole, restorer, options=options)
    assert_same_frames(target, whole)


def test_a_restorer_with_other_options_uses_no_segment_of_the_one_before(
    model: Path, restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Clip()), tmp_path / "out.mp4"
    interrupt(source, target, restorer)
    with Restorer(model, options=RestoreOptions(backend="cpu", tile=32)) as other:
        interrupt(source, target, other)
        result = restore_video(source, target, other, options=VideoOptions(segment_frames=FRAMES))
    assert result is not None
    assert result.resumed == 2 * FRAMES  # of its own
    target.unlink()
    interrupt(source, target, restorer)
    settings = restorer.output_settings()
    monkeypatch.setattr(Restorer, "output_settings", lambda _: {**settings, "faces": "changed"})
    result = restore_video(source, target, restorer, options=VideoOptions(segment_frames=FRAMES))
    assert result is not None
    assert result.resumed == 0


def test_another_source_of_the_same_size_and_time_uses_no_segment_of_the_one_before(
    restorer: Restorer, tmp_path: Path
) -> None:
    clip = Clip(audio=False, options=(("movflags", "faststart"),))
    source, target = make_clip(tmp_path / "in.mp4", clip), tmp_path / "out.mp4"
    interrupt(source, target, restorer)
    status, data = source.stat(), source.read_bytes()
    assert data.count(b"a clip") == 1
    source.write_bytes(data.replace(b"a clip", b"A CLIP"))
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = restore_video(source, target, restorer, options=VideoOptions(segment_frames=FRAMES))
    assert result is not None
    assert result.resumed == 0
    assert look(target).title == "A CLIP"
