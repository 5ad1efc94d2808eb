"""Put the stages' rows together: one JSON file and one table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from restora_tools.gpu.places import Places, Row


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


def make_table(result: dict[str, Any]) -> str:
    """ms, throughput, MFU, memory and PSNR on one line, peers below their model."""
    lines = [["model", "way", "ms a batch", "MP/s in", "MFU", "end to end", "MB", "PSNR"]]
    for line in result["lines"]:
        lines.append(_cells(line))
        if line is _last_of(result, line):
            peers = [peer for peer in result["peers"] if peer["model"] == line["model"]]
            lines += map(_peer_cells, peers)
    title = str(result["gpu"].get("name", "GPU"))
    return "\n".join([title, *_align(lines)])


def _align(lines: list[list[str]]) -> Iterator[str]:
    """Columns of equal width: the first two hold words, the others figures."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


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
