"""One way in a process of its own: how long until the first result, and how much memory.

`python -m restora_benchmarks.bench.probe MODEL WAY SIDE BATCH THREADS FOLDER ANSWER` writes one
number into the file ANSWER.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from restora.errors import RestoraError
from restora_benchmarks.command import LAUNCHER


def probe(
    model: str, way: str, *, side: int, batch: int, threads: int, folder: Path
) -> dict[str, float]:
    """startup_s from loading to the first result, without Python's imports; peak_mb of the whole
    process. Empty if the way does not start."""
    with tempfile.TemporaryDirectory() as name:
        answer = Path(name) / "answer.json"
        words = [sys.executable, "-m", __name__, model, way, str(side), str(batch), str(threads)]
        launched = subprocess.run(  # noqa: S603
            [sys.executable, "-S", "-c", LAUNCHER, *words, str(folder), str(answer)],
            capture_output=True,
            text=True,
            check=True,
        )
        code, _, peak = json.loads(launched.stdout)
        if code:
            return {}
        startup_s = json.loads(answer.read_text())
    unit = 1 if sys.platform == "darwin" else 1024
    return {"startup_s": startup_s, "peak_mb": round(peak * unit / 1e6)}


def main() -> None:
    from restora_benchmarks.bench.models import find_model
    from restora_benchmarks.bench.ways import find_way
    from restora_benchmarks.pictures import cut_tiles

    name, key, side, batch, threads, folder, answer = sys.argv[1:]
    model = find_model(name, Path(folder), lambda _words: None)
    way = find_way(key)
    picture = cut_tiles(int(batch), int(side))
    started = time.perf_counter()
    try:
        runner = way.open(model, int(threads))
        runner.run(picture)
    except RestoraError as error:
        raise SystemExit(str(error)) from error
    Path(answer).write_text(json.dumps(round(time.perf_counter() - started, 3)))


if __name__ == "__main__":
    main()
