"""The load of `make bench-service` on the restora-photo of a Triton server.

The same photos by the same numbers of clients, beside folder runs over the photos: one with the
session that restora chooses on this machine, and one with ONNX Runtime in float32, as the server.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from restora.triton import export_repository
from restora.triton.photo_model import PHOTO_MODEL
from restora_tools.service.folder import measure_folder
from restora_tools.service.load import Tally, share_out
from restora_tools.service.pictures import make_photos
from restora_tools.service.run import CLIENTS
from restora_tools.triton.server import serving

_FOLDERS = {"auto": ("auto", "auto"), "onnxruntime_fp32": ("cpu", "fp32")}
_REFUSED = "StatusCode.UNAVAILABLE"
_WAIT_S = 1.0


def measure_photos(
    network: str, work: Path, *, folder: Path, count: int = 60, repeats: int = 3
) -> dict[str, Any]:
    """Rounds of folder runs and of all numbers of clients in turn; medians of each.

    work: an empty folder; folder: where the server is installed
    """
    photos = make_photos(work / "photos", count)
    export_repository([network], work / "models")
    folders: dict[str, list[float]] = {name: [] for name in _FOLDERS}
    rows: dict[int, list[dict[str, Any]]] = {clients: [] for clients in CLIENTS}
    with serving(work / "models", folder=folder, log=work / "log") as running:
        if not running.is_ready():
            raise SystemExit((work / "log").read_text())
        send_photos(running.grpc, photos[:8], clients=4)
        for number in range(repeats):
            for name, (backend, precision) in _FOLDERS.items():
                output = work / f"{name}{number}"
                speed = measure_folder(
                    work / "photos", output, backend=backend, precision=precision
                )
                folders[name].append(speed)
            for clients in CLIENTS:
                rows[clients].append(send_photos(running.grpc, photos, clients=clients).as_row())
    speeds = {name: round(median(found), 3) for name, found in folders.items()}
    found = []
    for clients, each in rows.items():
        row = sorted(each, key=lambda one: one["photos_per_s"])[len(each) // 2]
        ratio = round(row["photos_per_s"] / speeds["onnxruntime_fp32"], 3)
        found.append({"clients": clients, **row, "of_folder": ratio})
    return {"network": network, "folder_photos_per_s": speeds, "rows": found}


def send_photos(address: str, photos: list[Path], *, clients: int) -> Tally:
    """Send each photo once, by so many clients at a time; one that is refused is sent again."""
    return share_out(photos, lambda: triton.InferenceServerClient(address), _send, clients=clients)


def _send(client: Any, data: bytes, tally: Tally, lock: threading.Lock) -> None:
    photo = triton.InferInput("photo", [1, 1], "BYTES")
    photo.set_data_from_numpy(np.array([[data]], dtype=object))
    while True:
        begun = time.perf_counter()
        try:
            client.infer(PHOTO_MODEL, [photo])
        except InferenceServerException as error:
            if error.status() != _REFUSED:
                with lock:
                    tally.failed += 1
                return
            with lock:
                tally.refused += 1
            time.sleep(_WAIT_S)
            continue
        with lock:
            tally.seconds.append(time.perf_counter() - begun)
        return
