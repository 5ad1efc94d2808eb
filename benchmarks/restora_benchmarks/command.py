"""Run the whole `restora restore` command in a process of its own, and see what it took."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """One command line. artifact, tile None: as the command chooses; more: further options."""

    source: Path
    target: Path
    artifact: Path | None
    threads: int
    tile: int | None = None
    more: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        words = [sys.executable, "-m", "restora", "restore", "--overwrite"]
        words += ["--input", str(self.source), "--output", str(self.target)]
        words += ["--threads", str(self.threads), *self.more]
        if self.artifact is not None:
            words += ["--model", str(self.artifact)]
        return words if self.tile is None else [*words, "--tile", str(self.tile)]


@dataclass(frozen=True, slots=True)
class Usage:
    """Wall time from start to exit, and the process's largest resident set."""

    elapsed_s: float
    peak_bytes: int


def run_command(command: Command) -> Usage:
    """Raises subprocess.CalledProcessError if the command fails."""
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        command.arguments(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    elapsed_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command.arguments())
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(elapsed_s, usage.ru_maxrss * unit)
