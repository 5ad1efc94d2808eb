"""Facts about the one Core of OpenVINO: sessions come and go, and signals arrive all the same."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from restora.backends.openvino_core import get_core

TESTS = Path(__file__).parents[2]
PROCESS = """
import gc, signal
from concurrent.futures import ThreadPoolExecutor
from fakes import tiny_artifact
from restora.backends.openvino_cpu import OpenVinoSession

def finish(*_):
    print("finished")

signal.signal(signal.SIGTERM, finish)
sessions = [OpenVinoSession(tiny_artifact()) for _ in range(2)]

def close():
    while sessions:
        sessions.pop(0).close()
    gc.collect()

{close}
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.parametrize("close", ["close()", "ThreadPoolExecutor(1).submit(close).result()"])
def test_a_signal_reaches_its_handler_after_sessions_are_closed(close: str, tmp_path: Path) -> None:
    """Ctrl-C and the SIGTERM that ends a service would crash it."""
    done = subprocess.run(
        [sys.executable, "-c", PROCESS.format(close=close)],
        cwd=TESTS,
        env={"PYTHONPATH": str(TESTS.parent / "engine"), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "finished\n"), done.stderr


def test_threads_that_ask_at_once_get_the_same_core() -> None:
    with ThreadPoolExecutor(8) as threads:
        cores = list(threads.map(lambda _: get_core(), range(64)))
    assert all(core is cores[0] for core in cores)
