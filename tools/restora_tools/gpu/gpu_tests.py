"""Stage `tests`: the tests that need a GPU, in this interpreter."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from restora.errors import MissingBackendError
from restora_tools.gpu.places import Places
from restora_tools.gpu.states import StateName

_ROOT = Path(__file__).parents[3]
_FOLDER = "tests/restora/backends/tensorrt"
TESTS = {"": f"{_FOLDER}/test_on_a_gpu.py", "damage": f"{_FOLDER}/test_damage_on_a_gpu.py"}


def run_tests(
    places: Places, report: Callable[[str], None], *, subject: str = "", file: str | None = None
) -> StateName:
    """One row with the counts. "failed" if a test failed, was skipped, or none was found.

    subject: which tests; "" are those of the engine with a tiny network
    file: other tests instead
    """
    file = file or TESTS[subject]
    if find_spec("pytest") is None:
        raise MissingBackendError("pytest is not in this interpreter")
    # without conftest, which needs packages for other tests
    words = ["-q", "-m", "gpu", "--noconftest", "-p", "no:cacheprovider", "-o", "addopts="]
    words += ["-o", "filterwarnings=default"]  # warnings of a GPU's packages are not its faults
    words += ["--import-mode=importlib", file]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", *words], cwd=_ROOT, capture_output=True, text=True
    )
    print(done.stdout, done.stderr)
    counts = {
        name: int(number)
        for number, name in re.findall(r"(\d+) (passed|failed|skipped|errors?)", done.stdout)
    }
    lines = done.stdout.strip().splitlines()
    passed = done.returncode == 0 and counts.get("passed", 0) > 0 and not counts.get("skipped")
    row = {
        "tests": file,
        "passed": passed,
        "counts": counts,
        "failures": [line for line in lines if line.startswith(("FAILED", "ERROR"))],
    }
    places.add_rows("tests", [row], key=("tests",))
    report(lines[-1] if lines else f"pytest ended with {done.returncode}")
    return "done" if passed else "failed"
