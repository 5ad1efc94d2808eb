"""Facts about files that commands read and write themselves: a path that cannot work is one typed
error, before any work, and nothing that is no regular file is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from restora.cli.app import make_command
from restora.errors import OutputError
from restora.files import make_folder, write_file


def exit_code(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        make_command()(args=list(words), prog_name="restora")
    return int(caught.value.code or 0)


def wrong_paths(folder: Path) -> list[Path]:
    (folder / "file").write_bytes(b"")
    return [folder / "file" / "x", Path("/proc/nowhere/x"), folder / ("n" * 300) / "x"]


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    for path in wrong_paths(tmp_path):
        with pytest.raises(OutputError, match="cannot be made"):
            make_folder(path)
        with pytest.raises(OutputError, match="cannot be made"):
            write_file(path / "y.json", "{}")
    with pytest.raises(OutputError):
        make_folder(tmp_path / "a\0b")


def test_the_sample_for_a_place_that_cannot_be_ends_with_6(tmp_path: Path) -> None:
    for path in wrong_paths(tmp_path):
        assert exit_code("sample", "-o", str(path / "s.jpg")) == 6


def test_a_bench_looks_for_its_folder_before_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from restora_benchmarks.bench import run as bench

    def measure(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(bench, "run_plan", measure)
    for path in wrong_paths(tmp_path):
        assert exit_code("bench", "run", "-o", str(path / "b.json")) == 6


@pytest.mark.parametrize("command", ["report", "compare"])
def test_results_are_read_from_regular_files_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "large.json").touch()
    os.truncate(tmp_path / "large.json", 1 << 30)
    for wrong in ("/dev/zero", "/dev/full", "pipe", ".", "none", "deep.json", "large.json"):
        path = str(tmp_path / wrong)
        assert exit_code("bench", command, *[path] * (2 if command == "compare" else 1)) == 2
        assert "cannot be read" in capsys.readouterr().err
