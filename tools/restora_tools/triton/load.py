"""Load on a Triton server: python -m restora_tools.triton.load.

perf_analyzer sends tiles to the bundled network, and a photo to restora-photo, by 1, 4 and 16
clients at once; then comes the load of `make bench-service`. Figures go to
benchmarks/results/triton-load.json. The binary of perf_analyzer is that of the wheel tritonclient
2.51.0, with libraries of the server's wheel.
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import os
import struct
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from restora.atomic import write_atomically
from restora.options import RestoreOptions
from restora.triton import ServerOptions, export_repository
from restora.triton.photo_model import PHOTO_MODEL
from restora_benchmarks.machine import describe_machine
from restora_tools.triton.photos import measure_photos
from restora_tools.triton.server import (
    DEFAULT_FOLDER,
    ROOT,
    WHEEL,
    Running,
    install,
    libraries,
    serving,
)

CLIENTS = (1, 4, 16)
NETWORK, TILE = "restora-lite-x2", 128
RESULTS = ROOT / "benchmarks" / "results" / "triton-load.json"
_ANALYZER = "tritonclient==2.51.0"
_WINDOWS = {NETWORK: 200, PHOTO_MODEL: 12}  # requests in each of three windows that must agree
# the wheel of the server holds those that the binary needs, under names of its own
_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
_COLUMNS = {
    "requests_per_s": "Inferences/Second",
    "p50_ms": "p50 latency",
    "p95_ms": "p95 latency",
    "p99_ms": "p99 latency",
}

Row = dict[str, object]


def measure(folder: Path = DEFAULT_FOLDER) -> list[Row]:
    """One row for each model and number of clients."""
    install(folder)
    analyzer = _install_analyzer(folder)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        export_repository(
            [NETWORK],
            work / "models",
            server=ServerOptions(photos=4, threads=1, max_batch=8),
            restore=RestoreOptions(tile=TILE),
        )
        with serving(work / "models", folder=folder, log=work / "log") as running:
            if not running.is_ready():
                raise SystemExit((work / "log").read_text())
            inputs = {
                NETWORK: ["--shape", f"image:{TILE},{TILE},3"],
                PHOTO_MODEL: ["--input-data", str(_write_photo(work / "photo.json"))],
            }
            return [
                _analyze(analyzer, folder, running, model, clients, words, work)
                for model, words in inputs.items()
                for clients in CLIENTS
            ]


def _write_photo(path: Path) -> Path:
    """The bundled sample photo, as perf_analyzer takes bytes: with their number in front."""
    photo = (files("restora") / "data" / "sample.jpg").read_bytes()
    content = struct.pack("<I", len(photo)) + photo
    value = {"content": {"b64": base64.b64encode(content).decode()}, "shape": [1]}
    path.write_text(json.dumps({"data": [{"photo": value}]}))
    return path


def _analyze(
    analyzer: Path,
    folder: Path,
    running: Running,
    model: str,
    clients: int,
    inputs: list[str],
    work: Path,
) -> Row:
    report = work / "report.csv"
    command = [
        str(analyzer), "-m", model, "-i", "grpc", "-u", running.grpc, *inputs,
        "--concurrency-range", str(clients), "--measurement-mode", "count_windows",
        "--measurement-request-count", str(_WINDOWS[model]), "-s", "50", "-f", str(report),
        "--collect-metrics", "--metrics-url", f"{running.metrics}/metrics",
    ]  # fmt: skip
    path = f"{analyzer.parents[1] / 'lib'}:{libraries(folder)}"
    environment = {**os.environ, "LD_LIBRARY_PATH": path}
    done = subprocess.run(  # noqa: S603
        command, env=environment, capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{done.stderr}")
    with report.open() as stream:
        (measured,) = csv.DictReader(stream)
    row: Row = {"model": model, "clients": clients}
    for name, column in _COLUMNS.items():
        scale = 1e3 if name.endswith("_ms") else 1  # microseconds
        row[name] = round(float(measured[column]) / scale, 2)
    print(row)
    return row


def _install_analyzer(folder: Path) -> Path:
    target = folder / "perf_analyzer"
    found = target / "bin" / "perf_analyzer"
    if not found.exists():
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--target", str(target), _ANALYZER],
            check=True,
        )  # fmt: skip
    links = target / "lib"
    links.mkdir(exist_ok=True)
    for name, pattern in _LIBRARIES.items():
        (library,) = (folder.resolve() / "wheel" / "nvidia_pytriton.libs").glob(pattern)
        (links / name).unlink(missing_ok=True)
        (links / name).symlink_to(library)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="of the server")
    folder = parser.parse_args().folder
    rows = measure(folder)
    with tempfile.TemporaryDirectory() as name:
        photos = measure_photos(NETWORK, Path(name), folder=folder)
    facts = {
        "machine": describe_machine(), "server": WHEEL, "network": NETWORK, "tile": TILE,
        "rows": rows, "photos": photos,
    }  # fmt: skip
    write_atomically(RESULTS, (json.dumps(facts, indent=1) + "\n").encode())
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
