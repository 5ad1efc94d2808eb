"""The tables of README and docs, from the result of a GPU check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from restora_tools.gpu.subjects import TINY
from restora_tools.page_tables import heads_of, row_of

NOTICE = (
    "**Not measured yet:** `make gpu-check` has not run on a machine with a GPU, so there "
    "are no figures to show."
)
_UNKNOWN = "not measured"
_IDENTICAL_DB = 150.0  # see measure_psnr


def gpu_table(path: Path) -> str:
    """Time, throughput and accuracy of each engine and peer, then whole photos; a notice without
    results."""
    if not path.exists():
        return NOTICE
    result = json.loads(path.read_text())
    engines = [line for line in result["lines"] if line["model"] != TINY.name]
    measured = {line["model"] for line in engines}
    lines = _table(
        ["model", "runtime", "tile", "batch", "ms", "TFLOP/s", "MFU", "PSNR"],
        [
            *map(_engine_cells, engines),
            *(_peer_cells(peer) for peer in result["peers"] if peer["model"] in measured),
        ],
    )
    if result["photos"]:
        lines += ["", *_table(
            ["model", "photo", "s", "MP/s", "GPU busy", "computed / photo area"],
            [_photo_cells(row) for row in result["photos"]],
        )]  # fmt: skip
    return "\n".join([*lines, "", _sentence(result["gpu"], result["machine"])])


def _sentence(gpu: dict[str, Any], machine: dict[str, Any]) -> str:
    cuda = int(gpu["driver"])  # such as 13000
    words = f"{gpu['name']}, TensorRT {gpu['tensorrt']}, CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    drivers = {card["driver"] for card in machine.get("gpus") or () if card["name"] == gpu["name"]}
    return ", ".join((words, *(f"driver {driver}" for driver in sorted(drivers)))) + "."


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [*heads_of(heads), *map(row_of, rows)]


def _engine_cells(line: dict[str, Any]) -> list[str]:
    name = f"**restora**, TensorRT {line['precision'].upper()}"
    if " to " in line.get("plan", ""):
        name += ", engine for all sizes"
    if line.get("no_graphs"):
        name += ", without CUDA graphs"
    return [
        line["model"],
        name,
        str(line["side"]),
        str(line["batch"]),
        f"{line['device_ms']:.2f}",
        f"{line['tflops']:.1f}",
        f"{line['mfu']:.0%}" if "mfu" in line else _UNKNOWN,
        f"{line['psnr_mean']:.1f} dB",
    ]


def _peer_cells(peer: dict[str, Any]) -> list[str]:
    if "ms" not in peer:
        return [peer["model"], peer["way"], "", "", _UNKNOWN, "", "", ""]
    return [
        peer["model"],
        peer["way"],
        str(peer["side"]),
        str(peer["batch"]),
        f"{peer['ms']:.2f}",
        "",
        "",
        "identical" if peer["psnr_mean"] == _IDENTICAL_DB else f"{peer['psnr_mean']:.1f} dB",
    ]


def _photo_cells(row: dict[str, Any]) -> list[str]:
    state = row["gpu_state"]
    return [
        f"{row['model']}, {row['precision'].upper()}",
        row["photo"].replace("x", " x "),
        f"{row['one_photo_s']:.3f}",
        f"{row['mp_per_s']:.1f}",
        f"{state['busy'][1]:.0%}" if "busy" in state else _UNKNOWN,
        f"{row['computed_share']:.2f}",
    ]
