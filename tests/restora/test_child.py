"""Facts about child processes: a clean interpreter at the other end of a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from restora.child import Child

SCRIPT = """
print("ran")
from restora.child import Child
child = Child("builtins:id")
try:
    child.connection.recv()
except EOFError:
    print("ended", child.kill())
"""


def echo(connection: Any) -> None:
    while (received := connection.recv()) != "crash":
        connection.send((os.getpid(), received))
    os._exit(3)


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return Child(f"{Path(__file__).stem}:echo")


def test_objects_travel_to_a_process_of_its_own_and_back(child: Child) -> None:
    child.connection.send({"a": [1]})
    assert child.connection.recv() == (child.process.pid, {"a": [1]})
    child.kill()
    assert child.process.returncode is not None


def test_a_crash_closes_the_pipe_and_costs_the_parent_nothing(child: Child) -> None:
    child.connection.send("crash")
    with pytest.raises(EOFError):
        child.connection.recv()
    child.process.wait()
    assert child.kill() == 3


def test_a_script_without_a_guard_is_not_run_again_by_its_child(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True, timeout=60
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ran", "ended"]
