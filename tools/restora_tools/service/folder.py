"""The folder command on the same photos, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import json, sys
from restora import Restorer, RestoreOptions, restore_folder
source, output, backend, precision = sys.argv[1:]
options = RestoreOptions(backend=backend, precision=precision)
with Restorer(options=options) as restorer:
    result = restore_folder(source, output, restorer)
print(json.dumps({"photos": result.counts["restored"], "seconds": result.restoring_s}))
"""


def measure_folder(source: Path, output: Path, *, backend: str, precision: str) -> float:
    """Photos per second of restore_folder, without the start of the process."""
    words = [sys.executable, "-c", _PROGRAM, str(source), str(output), backend, precision]
    done = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603
    found = json.loads(done.stdout.splitlines()[-1])
    return float(found["photos"] / found["seconds"])
