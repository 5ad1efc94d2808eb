"""Put the stages' rows together: one JSON file and one table."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from restora_benchmarks.gpu.places import Places, Row


def merge(places: Places) -> dict[str, Any]:
    """All rows; of each speed also its share of the ceiling and of PyTorch's ways."""
    ceilings = {row["device"]: row["tflops"] for row in places.rows("ceiling")}
    ceiling: dict[str, float] = ceilings.get("cuda") or next(iter(ceilings.values()), {})
    peers = places.rows("peers")
    lines = []
    for row in places.rows("speed"):
        line = dict(row)
        limit = ceiling.get(row["precision"])
        if "device_ms" in row:
            if limit:
                line["mfu"] = round(row["tflops"] / limit, 4)
            line["against"] = {
                peer["way"]: round(peer["ms"] / row["device_ms"], 3)
                for peer in peers
                if peer["model"] == row["model"] and "ms" in peer
            }
        lines.append(line)
    return {
        "gpu": next(iter(places.rows("device")), {}),
        "ceiling_tflops": ceiling,
        "build": places.rows("build"),
        "verify": places.rows("verify"),
        "lines": lines,
        "peers": peers,
    }


def make_table(result: dict[str, Any]) -> Table:
    """ms, throughput, MFU, memory and PSNR on one line, peers below their model."""
    table = Table(title=str(result["gpu"].get("name", "GPU")))
    heads = ("model", "way", "ms a batch", "MP/s in", "MFU", "end to end", "MB", "PSNR")
    for head in heads:
        table.add_column(head, justify="left" if head in ("model", "way") else "right")
    for line in result["lines"]:
        table.add_row(*_cells(line))
        for peer in result["peers"]:
            if peer["model"] == line["model"] and line is _last_of(result, line):
                table.add_row(*_peer_cells(peer))
    return table


def _last_of(result: dict[str, Any], line: Row) -> Row:
    same: list[Row] = [other for other in result["lines"] if other["model"] == line["model"]]
    return same[-1]


def _cells(line: Row) -> list[str]:
    way = f"TensorRT {line['precision']}"
    if "error" in line:
        return [line["model"], way, "failed", "", "", "", "", ""]
    return [
        line["model"],
        way,
        f"{line['device_ms']:.2f} / {line['batch']}",
        f"{line['input_mp_per_s']:.1f}",
        f"{line['mfu']:.0%}" if "mfu" in line else "",
        f"{line['end_to_end_share']:.2f}",
        f"{line['memory_mb']}",
        f"{line['psnr_mean']:.1f} dB",
    ]


def _peer_cells(peer: Row) -> list[str]:
    if "error" in peer:
        return ["", peer["way"], "not here", "", "", "", "", ""]
    megapixels = peer["batch"] * peer["side"] ** 2 / 1e6
    return [
        "",
        peer["way"],
        f"{peer['ms']:.2f} / {peer['batch']}",
        f"{megapixels / peer['ms'] * 1e3:.1f}",
        "",
        "",
        "",
        f"{peer['psnr_mean']:.1f} dB",
    ]
