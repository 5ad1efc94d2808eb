"""Facts about folders that hold more than sound photos: one bad entry costs only itself, and no
file is lost."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fakes import tiny_artifact
from processes import environment, run, start
from restora.errors import OptionError
from restora.image import Photo, read_photo, write_photo
from restora.jobs.plan import Naming, plan_jobs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    path.write_bytes(tiny_artifact(scale=2, io="uint8").onnx)
    return path


@pytest.fixture
def words(model: Path) -> list[object]:
    return ["restore", "-n", model, "--json", "--backend", "cpu"]


def photo(path: Path, level: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_photo(Photo(np.full((8, 10, 3), level, np.uint8)), path)
    return path


def level_of(path: Path) -> int:
    return int(np.median(read_photo(path).pixels))


def rows_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    assert "Traceback" not in done.stderr, done.stderr
    return {Path(row["input"]).name: row for row in map(json.loads, done.stdout.splitlines())}


def test_what_is_no_regular_file_is_one_failed_row_and_the_run_goes_on(
    words: list[object], tmp_path: Path
) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "z.png")
    for name in ("pipe.png", "pipe", "pipe.txt"):
        os.mkfifo(tmp_path / "in" / name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.relpath(tmp_path / "in" / "s.jpg"))
    (tmp_path / "in" / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "in" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "in" / "loop.jpg").symlink_to("loop.jpg")
    done = run(tmp_path, *words, "-i", "in", "-o", "out")
    listener.close()
    rows = rows_of(done)
    assert done.returncode == 3
    kinds = {name: row.get("error_type") for name, row in rows.items()}
    assert kinds == {
        "a.png": None,
        "z.png": None,
        **dict.fromkeys(("pipe.png", "pipe", "pipe.txt", "zero.jpg"), "NotAFileError"),
        **dict.fromkeys(("s.jpg", "gone.jpg", "loop.jpg"), "ImageError"),
    }


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("a.CR2", b"II*\0raw", "failed"),
        ("a.NEF", None, "failed"),
        ("a.dng", b"", "failed"),
        ("a.heic", b"\0\0\0\x18ftypheic", "failed"),
        ("a.jxl", b"\xff\x0a", "failed"),
        ("a.txt", b"text", "skipped"),
        ("a", b"text", "skipped"),
        ("a.mov", b"\0\0\0\x18ftypqt  ", "skipped"),
    ],
)
def test_a_picture_that_cannot_be_read_is_no_success(
    name: str, data: bytes | None, status: str, words: list[object], tmp_path: Path
) -> None:
    path = tmp_path / "in" / name
    photo(tmp_path / "in" / "good.png")
    if data is None:  # cameras write a TIFF whose first page is a thumbnail
        photo(path.with_suffix(".tif")).rename(path)
    else:
        path.write_bytes(data)
    done = run(tmp_path, *words, "-i", "in", "-o", "out")
    row = rows_of(done)[name]
    assert row["status"] == status
    assert done.returncode == (3 if status == "failed" else 0)
    if status == "failed":
        assert row["error_type"] in (
            "UnsupportedImageError", "UnknownFormatError", "TruncatedImageError"
        )  # fmt: skip


def test_results_and_comparisons_of_all_inputs_are_there(
    words: list[object], tmp_path: Path
) -> None:
    levels = {"a.png": 10, "a.bmp": 60, "a.png.png": 110, "a_compare.jpg": 160, "A.png": 210}
    for name, level in levels.items():
        photo(tmp_path / "in" / name.replace(".bmp", ".png.tmp.png"), level).rename(
            tmp_path / "in" / name
        )
    done = run(tmp_path, *words, "-i", "in", "-o", "out", "--compare")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done)
    outputs = {name: tmp_path / row["output"] for name, row in rows.items()}
    assert {name: level_of(path) for name, path in outputs.items()} == pytest.approx(levels, abs=3)
    assert len(list((tmp_path / "out").glob("[!.]*"))) == 2 * len(levels)


def test_a_comparison_never_replaces_a_source_photo(words: list[object], tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 10)
    victim = photo(tmp_path / "new_compare.jpg", 200).read_bytes()
    done = run(tmp_path, *words, "-i", "a.png", "-o", "new.png", "--compare")
    assert done.returncode == 2
    assert "new_compare.jpg exists already" in done.stderr
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "out" / "a_compare.jpg", 200)
    rows = rows_of(run(tmp_path, *words, "-i", "in", "-o", "out", "--compare"))
    assert rows["a.png"]["error_type"] == "OptionError"
    for kept in ("new_compare.jpg", "out/a_compare.jpg"):
        assert (tmp_path / kept).read_bytes() == victim
    assert not (tmp_path / "new.png").exists()


def test_no_input_is_overwritten_even_with_overwrite(words: list[object], tmp_path: Path) -> None:
    photo(tmp_path / "d" / "a.png", 10)
    before = photo(tmp_path / "d" / "a_x.png", 200).read_bytes()
    (tmp_path / "link").symlink_to("d")
    (tmp_path / "hard").mkdir()
    (tmp_path / "hard" / "a.png").hardlink_to(tmp_path / "d" / "a.png")
    for more in (
        ["-i", "d", "-o", "d", "--suffix", "x"],
        ["-i", "d", "-o", "link", "--suffix", "x"],
        ["-i", "link", "-o", "./d", "--suffix", "x"],
        ["-i", "d", "-o", "hard"],
        ["-i", "d/a.png", "-o", "link/a.png"],
    ):
        done = run(tmp_path, *words, *more, "--overwrite")
        assert done.returncode == 2, more
        assert "would be overwritten" in done.stderr
    assert (tmp_path / "d" / "a_x.png").read_bytes() == before
    assert level_of(tmp_path / "d" / "a.png") == 10


def test_results_in_the_input_folder_are_no_inputs_of_the_next_run(
    words: list[object], tmp_path: Path
) -> None:
    photo(tmp_path / "d" / "a.png")
    more = ["-i", "d", "-o", "d", "--suffix", "x", "--compare", "-r"]
    assert run(tmp_path, *words, *more).returncode == 0
    photo(tmp_path / "d" / "b.png")
    second = rows_of(run(tmp_path, *words, *more))
    assert {name: row["status"] for name, row in second.items()} == {
        "a.png": "skipped",
        "b.png": "restored",
    }


@pytest.mark.parametrize("taken", ["file", "folder", "result of another input"])
def test_a_name_that_is_taken_is_never_already_done(
    taken: str, words: list[object], tmp_path: Path
) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b.png")
    if taken == "file":
        photo(tmp_path / "out" / "a.png", 200)
    elif taken == "folder":
        (tmp_path / "out" / "a.png").mkdir(parents=True)
    else:
        photo(tmp_path / "other" / "a.png", 200)
        assert run(tmp_path, *words, "-i", "other", "-o", "out").returncode == 0
    done = run(tmp_path, *words, "-i", "in", "-o", "out")
    rows = rows_of(done)
    assert (done.returncode, rows["b.png"]["status"]) == (3, "restored")
    assert (rows["a.png"]["status"], rows["a.png"]["error_type"]) == ("failed", "OptionError")
    if taken != "folder":
        assert level_of(tmp_path / "out" / "a.png") == 200


def test_one_photo_is_never_already_done(words: list[object], tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 10)
    photo(tmp_path / "b.png", 200)
    assert run(tmp_path, *words, "-i", "a.png", "-o", "new.png").returncode == 0
    for more in (["-i", "b.png"], ["-i", "a.png"], ["-i", "a.png", "-s", "3"]):
        done = run(tmp_path, *words, *more, "-o", "new.png")
        assert (done.returncode, done.stdout) == (2, "")
        assert "new.png exists already: give --overwrite" in done.stderr
    assert run(tmp_path, *words, "-i", "b.png", "-o", "new.png", "--overwrite").returncode == 0
    assert level_of(tmp_path / "new.png") == 200


def test_another_photo_in_the_place_of_an_input_is_restored(
    words: list[object], tmp_path: Path
) -> None:
    """Whatever its size and its modification time are."""
    source = photo(tmp_path / "in" / "a.png", 10)
    for path, level in ((source, 10), (tmp_path / "b.png", 200)):
        photo(path, level)
        path.write_bytes(path.read_bytes().ljust(500, b"\0"))
        os.utime(path, (1_600_000_000, 1_600_000_000))
    assert run(tmp_path, *words, "-i", "in", "-o", "out").returncode == 0
    (tmp_path / "b.png").replace(source)
    done = run(tmp_path, *words, "-i", "in", "-o", "out")
    assert rows_of(done)["a.png"]["status"] == "restored"
    assert level_of(tmp_path / "out" / "a.png") == 200


def test_one_photo_with_a_manifest_is_done_once(words: list[object], tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 10)
    more = ["-i", "a.png", "-o", "new.png", "--manifest", "m.jsonl"]
    statuses = [rows_of(run(tmp_path, *words, *more))["a.png"]["status"] for _ in range(2)]
    assert statuses == ["restored", "skipped"]
    photo(tmp_path / "b.png", 200)
    done = run(tmp_path, *words, "-i", "b.png", "-o", "new.png", "--manifest", "m.jsonl")
    assert done.returncode == 2
    assert level_of(tmp_path / "new.png") == 10


@pytest.mark.parametrize(
    ("redirection", "code"), [(">/dev/full", 6), (">&-", 6), ("2>/dev/full", 0), ("2>&-", 0)]
)
def test_results_are_kept_whatever_the_streams_are(
    redirection: str, code: int, words: list[object], tmp_path: Path
) -> None:
    photo(tmp_path / "in" / "a.png")
    line = " ".join(map(str, [sys.executable, "-m", "restora", *words, "-i", "in", "-o", "out"]))
    done = subprocess.run(
        ["sh", "-c", f"{line} {redirection}"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert level_of(tmp_path / "out" / "a.png") == 100
    again = run(tmp_path, *words, "-i", "in", "-o", "out")
    assert rows_of(again)["a.png"]["status"] == "skipped"


@pytest.mark.parametrize("output", ["/proc/foo", "in/a.png/out", "x" * 300, "in/a.png/b/c.png"])
@pytest.mark.parametrize("source", ["in", "in/a.png"])
def test_an_output_that_cannot_be_made_is_the_machines_fault(
    output: str, source: str, words: list[object], tmp_path: Path
) -> None:
    if source == "in" and output.endswith(".png"):
        pytest.skip("a folder's output is a folder")
    photo(tmp_path / "in" / "a.png")
    done = run(tmp_path, *words, "-i", source, "-o", output)
    assert done.returncode == 6, done.stderr
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr


def test_an_input_that_cannot_be_looked_at_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        plan_jobs(tmp_path / ("x" * 300), tmp_path / "out", Naming())


def test_a_planted_hidden_folder_is_not_written_through(
    words: list[object], tmp_path: Path
) -> None:
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".restora").symlink_to(tmp_path / "elsewhere")
    done = run(tmp_path, *words, "-i", "in", "-o", "out")
    assert done.returncode == 6
    assert "link" in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["写" * 83 + ".png", "é" * 125 + ".png", "-v.png", "a\nb.png"])
def test_a_valid_name_of_any_kind_is_restored(
    name: str, words: list[object], tmp_path: Path
) -> None:
    photo(tmp_path / "in" / name)
    done = run(tmp_path, *words, "-i", "in", "-o", "out", "--compare")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / name).exists()


def test_a_name_that_is_no_text_is_restored_and_reported(
    words: list[object], tmp_path: Path
) -> None:
    photo(tmp_path / "in" / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/in/\xff.png"))
    for _ in range(2):
        done = run(tmp_path, *words, "-i", "in", "-o", "out")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["input"] == "in/\udcff.png"


def test_two_runs_of_one_photo_do_not_meet(words: list[object], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8)
    write_photo(Photo(pixels), tmp_path / "a.png")
    runs = [start(tmp_path, *words, "-i", "a.png", "-o", "new.png") for _ in range(2)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in runs]
    codes = sorted(code for _, code in ended)
    assert codes == [0, 2], ended
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


SAY = """
from rich.progress import Progress
from restora.cli.console import print_error, stderr_console
with Progress(console=stderr_console(), transient=True) as bar:
    bar.add_task("x", total=2)
    bar.refresh()
    print_error("in/bad.png is empty")
"""


def test_the_word_error_stands_before_its_reason_under_a_progress_bar(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", SAY], stderr=theirs, env={**environment(tmp_path), "TERM": "xterm"}
    )
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 4096):
            seen += part
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert done.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "error: in/bad.png is empty" in plain


def test_the_summary_names_what_failed(words: list[object], tmp_path: Path) -> None:
    photo(tmp_path / "in" / "good.png")
    for index in range(12):
        (tmp_path / "in" / f"{index:02}.png").write_bytes(b"")
    plain = [word for word in words if word != "--json"]
    done = run(tmp_path, *plain, "-i", "in", "-o", "out")
    _, _, summary = done.stderr.partition("failed:\n")
    names = [line.strip() for line in summary.splitlines()[:11]]
    assert names == [f"in/{index:02}.png" for index in range(10)] + ["and 2 more"]
