"""What a process prints is read to its end, however it arrives."""

from __future__ import annotations

import signal
import subprocess
import sys

from processes import read_rest


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_lines_that_arrive_with_the_first_one_are_kept() -> None:
    process = start("import os, sys; os.write(1, b'one\\ntwo\\n'); sys.stderr.write('words')")
    assert process.stdout is not None
    assert process.stdout.readline() == "one\n"
    assert read_rest(process, 60) == ("two\n", "words")
    assert process.returncode == 0


def test_a_process_that_does_not_end_is_killed() -> None:
    process = start("import time; print('one', flush=True); time.sleep(600)")
    assert process.stdout is not None
    process.stdout.readline()
    assert read_rest(process, 0.1) == ("", "")
    assert process.returncode == -signal.SIGKILL
