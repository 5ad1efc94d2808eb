"""The command line, as users run it: in this process, or in one of its own where that matters."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import AnyStr, NoReturn

from restora.cli import console, main

ROOT = Path(__file__).parents[1]


def environment(folder: Path) -> dict[str, str]:
    """Variables of a command that runs in folder: its models are there too."""
    return {
        **os.environ,
        "PYTHONPATH": ":".join(str(ROOT / name) for name in ("engine", "export")),
        "RESTORA_MODELS": str(folder / "models"),
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start a command in a process of its own: to be killed, signaled or watched."""
    return subprocess.Popen(
        [sys.executable, "-m", "restora", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder),
    )


def kill_after(process: subprocess.Popen[str], results: int) -> None:
    """Kill a run with --json once it has reported so many restored photos, or has ended: others
    are under way at any point of their way then."""
    assert process.stdout is not None
    for line in process.stdout:
        results -= json.loads(line)["status"] == "restored"
        if not results:
            break
    process.kill()
    process.communicate()


def read_rest(process: subprocess.Popen[AnyStr], timeout_s: float) -> tuple[AnyStr, AnyStr]:
    """What a process whose output was read in part prints until it ends, on standard output and
    error; it is killed if that takes longer.

    Popen.communicate() drops what was read ahead with the first lines.
    """
    assert process.stdout is not None
    timer = threading.Timer(timeout_s, process.kill)
    timer.start()
    try:
        out = process.stdout.read()
        return out, process.communicate()[1]
    finally:
        timer.cancel()


def run_process(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a process of its own."""
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


_MEASURE = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", "restora", *sys.argv[2:]]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
open(sys.argv[1], "w").write(f"{code} {peak}")
"""


def run_measured(folder: Path, *arguments: object) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a command in a process of its own; returns the peak of its resident memory too, in bytes.

    A small process starts it: a child inherits the peak of the one that starts it.
    """
    note = folder / "peak.txt"
    words = [sys.executable, "-c", _MEASURE, str(note), *map(str, arguments)]
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=folder, env=environment(folder), check=True
    )
    code, peak = note.read_text().split()
    note.unlink()
    return subprocess.CompletedProcess(words, int(code), done.stdout, done.stderr), int(peak) << 10


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process, which costs no start of an interpreter.

    Working directory, environment, signal handlers, logging and streams are those of a command
    while it runs, and put back at the end. An error that nothing handles is printed as a traceback
    and is exit code 1, as in a process.
    """
    words = list(map(str, arguments))
    out, err = _Text(), _Text()
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with _as_a_command(folder, words), streams[0], streams[1]:
        code = _exit_code_of_main()
    return subprocess.CompletedProcess(words, code, out.text(), err.text())


class _Text(io.TextIOWrapper):
    """A stream into memory, with the encoding and the buffer of a real one."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8", write_through=True)

    def text(self) -> str:
        return self._bytes.getvalue().decode()


class _ExitedAtOnceError(BaseException):
    """Instead of os._exit, which would end the tests."""

    def __init__(self, code: int) -> None:
        self.code = code


def _exit_code_of_main() -> int:
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(ended.code + "\n")
            return 1
        return ended.code or 0
    except _ExitedAtOnceError as ended:
        return ended.code
    except Exception:  # noqa: BLE001  as the interpreter does
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _as_a_command(folder: Path, words: list[str]) -> Iterator[None]:
    us, exit_at_once = os.getpid(), os._exit

    def leave(code: int) -> NoReturn:
        if os.getpid() != us:  # a forked child ends as it must
            exit_at_once(code)
        raise _ExitedAtOnceError(code)

    root = logging.getLogger()
    logged = root.level, root.handlers[:]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = sys.argv, dict(os.environ), Path.cwd()
    root.handlers.clear()  # the command closes those that it finds
    sys.argv = ["restora", *words]
    os._exit = leave  # type: ignore[assignment]
    os.environ.update(environment(folder))
    os.chdir(folder)
    _forget_consoles()
    try:
        yield
    finally:
        os._exit = exit_at_once
        sys.argv = before[0]
        _set_environment(before[1])
        os.chdir(before[2])
        for number, handler in handlers.items():
            signal.signal(number, handler)
        root.setLevel(logged[0])
        root.handlers[:] = logged[1]
        _forget_consoles()


def _set_environment(wanted: dict[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)


def _forget_consoles() -> None:
    """Width and colors are read from the environment when a console is made."""
    console.stderr_console.cache_clear()
    console.stdout_console.cache_clear()
