"""Facts about standard streams that are closed, full or gone: one line and exit code 6 if a result
is lost, nothing lost if only words are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from restora.image import Photo, read_photo, write_photo

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
LITTLE = "-n none --no-faces --quality 50"


def run(folder: Path, shell_words: str) -> subprocess.CompletedProcess[str]:
    """`restora` with redirections, in a shell."""
    return subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m restora {shell_words}'],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))},
    )


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("words", ["--version", "--help", "models"])
def test_what_cannot_be_printed_is_one_line_and_exit_code_6(
    tmp_path: Path, words: str, redirection: str
) -> None:
    result = run(tmp_path, f"{words} {redirection}")
    assert result.returncode == 6
    assert result.stderr.count("\n") == 1
    assert "standard output" in result.stderr


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    write_photo(Photo(np.full((8, 8, 3), 99, np.uint8)), tmp_path / "a.png")
    return tmp_path


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_lost_json_lines_end_a_run_with_6(photo: Path, redirection: str) -> None:
    result = run(photo, f"restore -i a.png -o b.png {LITTLE} --json {redirection}")
    assert result.returncode == 6
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "<&- >&- 2>&-"])
def test_without_a_place_for_messages_results_are_whole(photo: Path, redirection: str) -> None:
    result = run(photo, f"restore -i a.png -o b.png {LITTLE} {redirection}")
    assert result.returncode == 0
    assert (read_photo(photo / "b.png").pixels == 99).all()


def test_a_reader_that_ends_is_no_error_message(photo: Path) -> None:
    words = f"restore -i a.png -o b.png {LITTLE} --json"
    script = f'("{sys.executable}" -m restora {words}; echo $? >code) | true'
    environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    result = subprocess.run(
        ["sh", "-c", script],
        cwd=photo,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=environment,
    )
    assert (photo / "code").read_text().strip() == "6"
    assert "Traceback" not in result.stderr
    assert "standard output" not in result.stderr
