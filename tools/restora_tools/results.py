"""Results as JSON, with the machine that they were measured on."""

import json
from pathlib import Path

from restora_benchmarks.machine import describe_machine


def write_results(path: Path, **values: object) -> None:
    """One JSON object: `machine`, then `values`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": describe_machine(), **values}, indent=1) + "\n")
