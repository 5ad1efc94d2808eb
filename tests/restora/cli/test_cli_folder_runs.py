"""Facts about runs over folders: interrupted at any moment, resumed, nothing lost or done twice."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fakes import tiny_artifact
from processes import environment, kill_after, run, start
from restora.image import Photo, read_photo, write_photo

POISON = """
import os, signal, restora.jobs.photo_flow as batch
original = batch.read_isolated
def read(path, *rest, **options):
    if "poison" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(path, *rest, **options)
batch.read_isolated = read
from restora.cli import main
main()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    path.write_bytes(tiny_artifact(scale=2, io="uint8").onnx)
    return path


@pytest.fixture
def arguments(model: Path) -> list[object]:
    return ["restore", "-i", "in", "-o", "out", "-n", model, "--json", "--backend", "cpu"]


def make_photos(folder: Path, count: int, size: tuple[int, int] = (20, 12)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        shape = (size[1], size[0], 3)
        pixels = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        write_photo(Photo(pixels), folder / f"{index:03}.png")


def statuses(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(row["input"]).name: row["status"] for row in rows}


def manifest_rows(folder: Path) -> list[dict[str, object]]:
    path = folder / "out" / ".restora" / "manifest.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_file_leaves_its_rows(arguments: list[object], tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 3)
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    assert run(tmp_path, *arguments).returncode == 3
    rows = manifest_rows(tmp_path)
    ends = {row["input"]: row for row in rows if row["event"] == "end"}
    assert set(ends) == {"000.png", "001.png", "002.png", "bad.png"}
    assert ends["bad.png"]["status"] == "failed"
    assert ends["bad.png"]["exit_code"] == 4
    good = ends["000.png"]
    assert good["status"] == "restored"
    assert len(str(good["sha256"])) == 64
    assert isinstance(good["ms"], int)


def test_a_run_says_how_busy_its_stages_and_how_full_its_batches_were(
    arguments: list[object], tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", 3, (200, 150))
    words = [word for word in arguments if word != "--json"]
    done = run(tmp_path, *words, "--tile", "64", "--batch", "4")
    assert re.search(r"\d photos/s; at work: decode \d+%, restore \d+%, encode \d+%", done.stderr)
    assert re.search(r"tiny: [2-4]\.\d tiles a call", done.stderr)


def test_settings_that_change_the_result_make_it_again_and_others_do_not(
    arguments: list[object], tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", 2)
    run(tmp_path, *arguments)
    assert set(statuses(run(tmp_path, *arguments, "--threads", "1")).values()) == {"skipped"}
    again = run(tmp_path, *arguments, "--outscale", "3")
    assert set(statuses(again).values()) == {"restored"}
    assert "2 made again" in again.stderr
    assert read_photo(tmp_path / "out" / "000.png").width == 60
    # touched up by hand: not ours any more
    write_photo(Photo(np.zeros((4, 4, 3), np.uint8)), tmp_path / "out" / "000.png")
    last = run(tmp_path, *arguments)
    assert statuses(last) == {"000.png": "skipped", "001.png": "restored"}
    assert "changed since" in last.stdout


def test_what_failed_stays_failed_until_it_is_mended_or_asked_for(
    arguments: list[object], tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", 2)
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    assert run(tmp_path, *arguments).returncode == 3
    second = run(tmp_path, *arguments)
    assert second.returncode == 3
    assert statuses(second)["bad.png"] == "failed"
    assert "failed before" in second.stderr
    attempts = [row for row in manifest_rows(tmp_path) if row["event"] == "begin"]
    assert Counter(row["input"] for row in attempts)["bad.png"] == 1
    run(tmp_path, *arguments, "--retry-failed")
    attempts = [row for row in manifest_rows(tmp_path) if row["event"] == "begin"]
    assert Counter(row["input"] for row in attempts)["bad.png"] == 2
    make_photos(tmp_path / "other", 1)
    (tmp_path / "other" / "000.png").replace(tmp_path / "in" / "bad.png")
    assert run(tmp_path, *arguments).returncode == 0


def test_a_file_that_kills_the_process_is_quarantined_and_the_others_are_done(
    arguments: list[object], tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", 6)
    (tmp_path / "in" / "002.png").rename(tmp_path / "in" / "002-poison.png")
    words = [sys.executable, "-c", POISON, *map(str, arguments)]
    codes = []
    for _ in range(8):
        done = subprocess.run(
            words, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        codes.append(done.returncode)
        if done.returncode >= 0:
            break
    # perhaps once beside others, then three times alone
    assert codes in ([-signal.SIGKILL] * 3 + [3], [-signal.SIGKILL] * 4 + [3])
    found = statuses(done)
    assert found.pop("002-poison.png") == "failed"
    assert set(found.values()) <= {"restored", "skipped"}
    assert len(found) == 5
    assert "quarantined" in done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 5


@pytest.mark.slow
def test_20_kills_leave_nothing_corrupt_nothing_done_twice_and_nothing_forgotten(
    arguments: list[object], tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", 40, (200, 150))
    rng = np.random.default_rng(1)
    for _ in range(20):
        kill_after(start(tmp_path, *arguments), int(rng.integers(1, 3)))
        for path in (tmp_path / "out").glob("*.png"):
            assert read_photo(path).width == 400
    last = run(tmp_path, *arguments)
    assert last.returncode == 0, last.stderr
    assert len(statuses(last)) == 40
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file()) == [
        f"{index:03}.png" for index in range(40)
    ]
    ends = Counter(
        row["input"] for row in manifest_rows(tmp_path) if row.get("status") == "restored"
    )
    assert len(ends) == 40
    assert set(ends.values()) == {1}


def test_the_first_signal_lets_the_photo_in_hand_finish(
    arguments: list[object], tmp_path: Path
) -> None:
    make_photos(tmp_path / "in", 60, (800, 600))
    process = start(tmp_path, *arguments)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "press Ctrl-C again to stop at once" in err
    rows = manifest_rows(tmp_path)
    begun = {row["input"] for row in rows if row["event"] == "begin"}
    ended = {row["input"] for row in rows if row["event"] == "end"}
    assert begun == ended
    assert len(begun) < 60
    done = [row for row in rows if row.get("status") == "restored"]
    assert len(done) == len(list((tmp_path / "out").glob("*.png")))


def test_two_runs_on_one_folder_do_not_meet(arguments: list[object], tmp_path: Path) -> None:
    make_photos(tmp_path / "in", 40, (800, 600))
    first = start(tmp_path, *arguments)
    assert first.stdout is not None
    first.stdout.readline()
    second = run(tmp_path, *arguments)
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert "another run" in second.stderr
