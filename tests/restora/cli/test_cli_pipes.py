"""restora in a pipeline: bytes in, nothing but bytes out, and an end for every way a pipe ends."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from photo_runs import photo
from processes import environment, read_rest, run
from restora import read_photo
from restora.cli.pipes import open_stdout
from restora.exit_codes import ExitCode

PLAIN = ("-n", "none", "--no-faces")
VIDEO = ("video", "-i", "-", "-o", "-", *PLAIN)
RESTORE = ("restore", "-i", "-", "-o", "-", *PLAIN)
COMMAND = [sys.executable, "-m", "restora"]


def pipe(folder: Path, data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *words], input=data, capture_output=True, cwd=folder, env=environment(folder)
    )


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(folder),
    )


def stream(frames: int = 3) -> bytes:
    pytest.importorskip("av")
    from y4m_streams import write_stream

    return write_stream(frames=frames)


def test_a_video_goes_through_a_pipe(tmp_path: Path) -> None:
    done = pipe(tmp_path, stream(), *VIDEO)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"YUV4MPEG2 W64 H48 F25:1 ")
    assert len(done.stdout.split(b"FRAME\n")) == 4
    assert b"standard output: 3 frames in" in done.stderr


def test_a_video_that_is_cut_gives_what_came_and_exit_code_3(tmp_path: Path) -> None:
    done = pipe(tmp_path, stream()[:-1], *VIDEO)
    assert done.returncode == ExitCode.SOME_FAILED
    assert len(done.stdout.split(b"FRAME\n")) == 3
    assert b"the stream ends inside frame 3" in done.stderr


def test_what_is_no_video_stream_is_exit_code_4_without_a_byte(tmp_path: Path) -> None:
    pytest.importorskip("av")
    done = pipe(tmp_path, b"ID3 a song", *VIDEO)
    assert done.returncode == ExitCode.ALL_FAILED
    assert done.stdout == b""
    assert done.stderr.count(b"error:") == 1
    assert b"must be YUV4MPEG2" in done.stderr


def test_a_reader_that_ends_ends_the_video_though_its_writer_is_silent(tmp_path: Path) -> None:
    process = start(tmp_path, *VIDEO)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(stream())
    process.stdin.flush()  # and it stays open
    assert process.wait(60) == ExitCode.ENVIRONMENT
    assert b"Traceback" not in (said := process.stderr.read())
    assert b"error" not in said
    process.stdin.close()
    process.stderr.close()


def test_sigterm_ends_a_silent_pipe_and_keeps_every_whole_frame(tmp_path: Path) -> None:
    process = start(tmp_path, *VIDEO)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(stream(frames=2))
    process.stdin.flush()
    header = process.stdout.readline()
    frames = process.stdout.read(2 * (len(b"FRAME\n") + 64 * 48 * 3 // 2))
    process.send_signal(signal.SIGTERM)
    rest, said = read_rest(process, 60)
    assert process.returncode == ExitCode.TERMINATED, said
    assert header.startswith(b"YUV4MPEG2")
    assert frames.count(b"FRAME\n") == 2
    assert rest == b""


def test_ffmpeg_reads_and_writes_both_ends(tmp_path: Path) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("needs ffmpeg")
    source = "-f lavfi -i testsrc2=size=64x48:rate=10:duration=1 -pix_fmt yuv420p10le"
    words = (
        f"{ffmpeg} -v error {source} -strict -1 -f yuv4mpegpipe - "
        f"| {' '.join(COMMAND)} {' '.join(VIDEO)} "
        f"| {ffmpeg} -v error -f yuv4mpegpipe -i - -c:v ffv1 out.mkv"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", words],
        capture_output=True, cwd=tmp_path, env=environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    import av

    with av.open(str(tmp_path / "out.mkv")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 10
    assert (frames[0].width, frames[0].height) == (128, 96)
    assert frames[0].format.name == "yuv420p10le"


@pytest.mark.parametrize(
    "words",
    [
        ("-i", "-", "-o", "out.mp4"),
        ("-i", "in.mp4", "-o", "-"),
        ("-i", "-", "-o", "-", "--crf", "20"),
        ("-i", "-", "-o", "-", "--encoder", "libx265"),
        ("-i", "-", "-o", "-", "--overwrite"),
    ],
)
def test_what_has_no_meaning_for_a_stream_is_wrong_usage(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = run(tmp_path, "video", *words, *PLAIN)
    assert done.returncode == ExitCode.USAGE
    assert "-i - and -o -" in done.stderr or "have no effect" in done.stderr


def test_a_photo_goes_through_a_pipe_as_it_goes_through_files(tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png")
    done = pipe(tmp_path, source.read_bytes(), *RESTORE)
    assert done.returncode == 0, done.stderr
    run(tmp_path, "restore", "-i", "a.png", "-o", "b.png", *PLAIN)
    assert done.stdout == (tmp_path / "b.png").read_bytes()
    assert b"standard output: 20 x 16" in done.stderr


def test_a_photo_that_cannot_be_read_is_exit_code_4_without_a_byte(tmp_path: Path) -> None:
    done = pipe(tmp_path, b"no photo", *RESTORE, "--ext", "jpg")
    assert done.returncode == ExitCode.ALL_FAILED
    assert done.stdout == b""
    assert b"standard input" in done.stderr
    assert b"/restora-" not in done.stderr


def give_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_photo_from_a_pipe_goes_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_stdin(monkeypatch, photo(tmp_path / "a.png").read_bytes())
    done = run(tmp_path, "restore", "-i", "-", "-o", "b.png", "--json", *PLAIN)
    assert done.returncode == 0, done.stderr
    assert '"input": "standard input"' in done.stdout
    assert read_photo(tmp_path / "b.png").width == 20


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-i", "-", "-o", "results"), "has no name"),
        (("-i", "-", "-o", "-", "--json"), "both write to standard output"),
        (("-i", "-", "-o", "-", "--compare"), "an output that is a file"),
        (("-i", "-", "-o", "-", "--manifest", "m"), "an output that is a file"),
    ],
)
def test_what_a_photo_in_a_pipe_cannot_have_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], reason: str
) -> None:
    give_stdin(monkeypatch, photo(tmp_path / "a.png").read_bytes())
    done = run(tmp_path, "restore", *words, *PLAIN)
    assert done.returncode == ExitCode.USAGE
    assert reason in done.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_no_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    done = run(tmp_path, *RESTORE)
    assert done.returncode == ExitCode.USAGE
    assert "standard input, which is a terminal" in done.stderr


def test_closed_standard_input_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    done = run(tmp_path, *RESTORE)
    assert done.returncode == ExitCode.USAGE
    assert "standard input, which is closed" in done.stderr


_NOISE = """
import os, sys
from restora.cli.pipes import open_stdout
with open_stdout() as target:
    print("a note")
    os.write(1, b"a library\\n")
    target.write(b"the result")
print(" and the end", end="")
"""


def test_what_libraries_print_meanwhile_goes_to_stderr(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NOISE], capture_output=True, env=environment(tmp_path), check=True
    )
    assert done.stdout == b"the result and the end"
    assert set(done.stderr.split(b"\n")) == {b"a note", b"a library", b""}


def test_a_full_pipe_that_does_not_block_loses_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).bytes(300_000)
    reader = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(len(sys.stdin.buffer.read()))"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert reader.stdin is not None
    os.set_blocking(reader.stdin.fileno(), False)
    copy = io.TextIOWrapper(io.FileIO(os.dup(reader.stdin.fileno()), "w"))
    monkeypatch.setattr("sys.stdout", copy)
    with open_stdout() as target:
        target.write(data)
    copy.close()
    assert int(reader.communicate()[0]) == len(data)


def test_a_full_disk_behind_standard_output_is_an_error(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    words = " ".join([*COMMAND, "restore", "-i", "a.png", "-o", "-", *PLAIN])
    done = subprocess.run(
        ["sh", "-c", f"{words} >/dev/full"],
        capture_output=True, cwd=tmp_path, env=environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == ExitCode.ENVIRONMENT
    assert b"No space left" in done.stderr
