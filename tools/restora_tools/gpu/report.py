"""Put the rows of all steps together: one JSON object, one table and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.states import read_states
from restora_tools.gpu.steps import Step
from restora_tools.gpu.verdicts import Verdict, make_verdicts, measured_peers

_STAGES = ("loads", "tests", "build", "verify", "layers", "photos", "damage", "sweep", "peers")


def merge(places: Places, steps: Sequence[Step]) -> dict[str, Any]:
    """All rows; of each speed also its share of the ceiling, and its factor over the peers."""
    ceilings = places.rows("ceiling")
    peers = places.rows("peers")
    return {
        "gpu": next(iter(places.rows("device")), {}),
        "machine": next(iter(places.rows("machine")), {}),
        "ceiling": ceilings,
        "lines": [_line(row, ceilings, peers) for row in places.rows("speed")],
        **{stage: places.rows(stage) for stage in _STAGES},
        "steps": [asdict(state) for state in read_states(places).values()],
        "verdicts": [asdict(verdict) for verdict in make_verdicts(places, steps)],
    }


def _line(row: Row, ceilings: list[Row], peers: list[Row]) -> Row:
    """A row of `speed` with its MFU, or why there is none, and its factors over the peers."""
    line = dict(row)
    precision, card = row["precision"], row["card"]
    limits = [
        c["tflops"]
        for c in ceilings
        if (c["precision"], c["card"]) == (precision, card) and "tflops" in c
    ]
    if limits:
        line["mfu"] = round(row["tflops"] / limits[0], 4)
    else:
        line["mfu_not_measured"] = f"there is no ceiling of {precision} on {card}: run ceiling"
    line["against"] = {
        peer["way"]: round(peer["ms"] / row["device_ms"], 3) for peer in measured_peers(peers, row)
    }
    return line


def make_table(result: dict[str, Any]) -> str:
    """One line a precision or other runtime, and one line a photo."""
    lines = [["network", "way", "ms / batch", "MP/s in", "MFU", "graphs", "PSNR"]]
    lines += [_cells(line) for line in result["lines"]]
    lines += [_peer_cells(peer) for peer in result["peers"]]
    photos = [["network", "photo", "s", "MP/s in", "estimate", "area", "GPU busy"]]
    photos += [_photo_cells(row) for row in result["photos"]]
    title = str(result["gpu"].get("name", "no GPU was measured"))
    tables = _align(lines), _align(photos) if result["photos"] else ()
    return "\n".join([title, *tables[0], "", *tables[1]]).rstrip()


def make_summary(verdicts: Iterable[Verdict]) -> str:
    """Counts, and every statement that does not hold or was not measured."""
    known = list(verdicts)
    lines = []
    for outcome in ("FAILS", "not measured"):
        for verdict in known:
            if verdict.outcome == outcome:
                goal = "" if verdict.must else " (a goal)"
                lines.append(f"{outcome}: {verdict.statement}{goal}: {verdict.detail}")
    counts = {o: sum(v.outcome == o for v in known) for o in ("holds", "FAILS", "not measured")}
    lines.append(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    return "\n".join(lines)


def _align(lines: list[list[str]]) -> Iterator[str]:
    """Columns of equal width: the first two hold words, the others figures."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _cells(line: Row) -> list[str]:
    return [
        line["model"],
        f"TensorRT {line['precision']}" + (", all sizes" if " to " in line.get("plan", "") else ""),
        f"{line['device_ms']:.2f} / {line['batch']}",
        f"{line['input_mp_per_s']:.1f}",
        f"{line['mfu']:.0%}" if "mfu" in line else "?",
        "NO" if line.get("no_graphs") else "yes",
        f"{line['psnr_mean']:.1f} dB",
    ]


def _peer_cells(peer: Row) -> list[str]:
    if "ms" not in peer:
        return [peer["model"], peer["way"], "not measured", "", "", "", ""]
    return [
        peer["model"],
        peer["way"],
        f"{peer['ms']:.2f} / {peer['batch']}",
        f"{peer['input_mp_per_s']:.1f}",
        "",
        "",
        f"{peer['psnr_mean']:.1f} dB",
    ]


def _photo_cells(row: Row) -> list[str]:
    state = row["gpu_state"]
    return [
        f"{row['model']} {row['precision']}",
        row["photo"],
        f"{row['one_photo_s']:.3f}",
        f"{row['mp_per_s']:.1f}",
        f"{row['device_share']:.0%}",
        f"{row['computed_share']:.2f}",
        f"{state['busy'][1]:.0%}" if "busy" in state else "?",
    ]
