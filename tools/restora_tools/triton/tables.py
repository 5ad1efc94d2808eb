"""Tables of a Triton server under load."""

from __future__ import annotations

from typing import Any

from restora_tools.page_tables import heads_of, row_of
from restora_tools.service.tables import load_lines


def triton_photos_table(result: dict[str, Any]) -> str:
    """Photos per second and latency of restora-photo by the number of clients."""
    photos, machine = result["photos"], result["machine"]
    speeds = photos["folder_photos_per_s"]
    words = (
        f"{photos['network']} in FP32 on {machine['cores_allowed']} cores of an {machine['cpu']}, "
        f"which the clients share ({result['server']}). The folder run is `restore_folder` with "
        f"ONNX Runtime in FP32, {speeds['onnxruntime_fp32']:.2f} of the same photos (128 x 128 to "
        f"800 x 600) per second; in the precision that restora chooses on this machine it "
        f"restores {speeds['auto']:.2f}."
    )
    return "\n".join([*load_lines(photos["rows"]), "", words])


def triton_analyzer_table(result: dict[str, Any]) -> str:
    """What perf_analyzer measured."""
    lines = heads_of(["model", "clients", "requests/s", "p50", "p95", "p99"])
    for row in result["rows"]:
        cells = [row["model"], str(row["clients"]), f"{row['requests_per_s']:.2f}"]
        cells += [f"{row[name]:.0f} ms" for name in ("p50_ms", "p95_ms", "p99_ms")]
        lines.append(row_of(cells))
    side = result["tile"]
    words = f"Requests to the network are tiles of {side} x {side}; photos are the bundled sample."
    return "\n".join([*lines, "", words])
