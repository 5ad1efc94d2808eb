"""Run the whole `restora restore` command in a process of its own, and see what it took."""

import json
import subprocess
import sys
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


# A child starts with its parent's peak memory on record: a small process in between has little.
LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
elapsed_s = time.perf_counter() - started
print(json.dumps([os.waitstatus_to_exitcode(status), elapsed_s, usage.ru_maxrss]))
"""


def run_command(command: Command) -> Usage:
    """Raises subprocess.CalledProcessError if the command fails."""
    words = command.arguments()
    launched = subprocess.run(  # noqa: S603
        [sys.executable, "-S", "-c", LAUNCHER, *words], capture_output=True, check=True, text=True
    )
    code, elapsed_s, peak = json.loads(launched.stdout)
    if code:
        raise subprocess.CalledProcessError(code, words)
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(elapsed_s, peak * unit)
