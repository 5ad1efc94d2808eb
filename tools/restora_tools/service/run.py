"""The service under load: `python -m restora_tools.service.run`.

1, 4, 16 and 64 clients with photos of mixed sizes beside a folder run over the same photos; small
photos beside one of 50 megapixels; a thousand uploads at once, some of them broken, slow or given
up; memory over thousands of requests.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from restora_tools.results import write_results
from restora_tools.service.crowd import send_crowd
from restora_tools.service.folder import measure_folder
from restora_tools.service.load import send_all, send_for
from restora_tools.service.pictures import THUMBNAIL, TINY, make_photo, make_photos
from restora_tools.service.server import serve

RESULTS = Path("benchmarks/results/service.json")
CLIENTS = (1, 4, 16, 64)
_THUMBNAIL_CLIENTS = 4
_QUEUE = "32"
_SAMPLES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--photos", type=int, default=60, help="of mixed sizes, for each row")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--thumbnail-s", type=float, default=30, help="without and with the large")
    parser.add_argument("--large-mp", type=float, default=50)
    parser.add_argument("--crowd", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=10_000, help="for the memory")
    parser.add_argument("--parts", default="load,fairness,crowd,memory")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    console, found = Console(soft_wrap=True), {}
    measures = {
        "load": measure_load,
        "fairness": measure_fairness,
        "crowd": measure_crowd,
        "memory": measure_memory,
    }
    with tempfile.TemporaryDirectory() as name:
        for part in arguments.parts.split(","):
            found[part] = measures[part](Path(name), arguments)
            console.print(part, found[part])
    write_results(arguments.json, **found)
    console.print(f"wrote {arguments.json}")


def _words(arguments: argparse.Namespace) -> list[str]:
    return ["--backend", arguments.backend, "--precision", arguments.precision, "--queue", _QUEUE]


def measure_load(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Rounds of all rows in turn, so that a slower machine slows all of them."""
    photos = make_photos(folder / "photos", arguments.photos)
    folder_speeds: list[float] = []
    rows: dict[int, list[dict[str, Any]]] = {clients: [] for clients in CLIENTS}
    for number in range(arguments.repeats):
        output = folder / f"out{number}"
        speed = measure_folder(
            folder / "photos", output, backend=arguments.backend, precision=arguments.precision
        )
        folder_speeds.append(speed)
        with serve(*_words(arguments)) as server:
            for clients in CLIENTS:
                rows[clients].append(send_all(server.address, photos, clients=clients).as_row())
    reference = median(folder_speeds)
    found = []
    for clients, repeats in rows.items():
        row = sorted(repeats, key=lambda one: one["photos_per_s"])[len(repeats) // 2]
        ratio = round(row["photos_per_s"] / reference, 3)
        found.append({"clients": clients, **row, "of_folder": ratio})
    return {"folder_photos_per_s": round(reference, 3), "rows": found}


def measure_fairness(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Thumbnails by a few clients, without and with a large photo in progress."""
    thumbnail = make_photo(folder / "thumbnail.jpg", THUMBNAIL)
    side = (1e6 * arguments.large_mp / 6) ** 0.5
    large = make_photo(folder / "large.jpg", (round(3 * side), round(2 * side)))
    seconds, clients = arguments.thumbnail_s, _THUMBNAIL_CLIENTS
    with serve(*_words(arguments)) as server:
        alone = send_for(server.address, thumbnail, clients=clients, seconds=seconds).as_row()
        ended: list[dict[str, Any]] = []

        def send_large() -> None:
            ended.append(send_all(server.address, [large], clients=1).as_row())

        sending = threading.Thread(target=send_large)
        sending.start()
        while not server.metric("restora_in_flight"):
            pass
        beside = send_for(server.address, thumbnail, clients=clients, seconds=seconds).as_row()
        was_running = not ended
        sending.join()
    return {
        "clients": clients,
        "large_megapixels": arguments.large_mp,
        "alone": alone,
        "beside_large": beside,
        "large": ended[0],
        "large_ran_all_the_time": was_running,
        "p95_ratio": round(beside["p95_s"] / alone["p95_s"], 2),
    }


def measure_crowd(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    photo = make_photo(folder / "crowd.jpg", THUMBNAIL)
    with serve(*_words(arguments)) as server:
        before = server.memory_mb()
        answers = send_crowd(server.address, photo, count=arguments.crowd, odd_share=0.1)
        after = send_all(server.address, [photo], clients=1).as_row()
        return {
            "uploads": arguments.crowd,
            "answers": answers,
            "refused_counted": server.metric('restora_refused_total{reason="queue-full"}'),
            "left_in_flight": server.metric("restora_in_flight"),
            "left_waiting": server.metric("restora_queue_waiting"),
            "photo_afterwards": after,
            "memory_mb": [before, server.memory_mb()],
        }


def measure_memory(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Resident memory after each tenth of the requests; the first tenth warms up."""
    photo = make_photo(folder / "tiny.jpg", TINY)
    each = max(1, arguments.requests // _SAMPLES)
    with serve(*_words(arguments)) as server:
        samples = []
        for _ in range(_SAMPLES):
            tally = send_all(server.address, [photo] * each, clients=_THUMBNAIL_CLIENTS)
            samples.append(server.memory_mb())
    return {
        "requests": each * _SAMPLES,
        "failed_in_the_last": tally.failed,
        "memory_mb": samples,
        "growth_mb": samples[-1] - samples[0],
    }


if __name__ == "__main__":
    main()
