"""Plots of a result, as SVG text that needs nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, Any]
_SIZE = (7.2, 4.2)


def make_plots(rows: list[Row]) -> dict[str, str]:
    """Title to SVG, of every plot that these rows have something for."""
    tiles = [row for row in rows if row["suite"] == "tiles"]
    sizes = [row for row in rows if row["suite"] == "size"]
    stages = [row for row in rows if row["suite"] == "stages"]
    plots: dict[str, str] = {}
    for model in dict.fromkeys(row["model"] for row in tiles):
        mine = [row for row in tiles if row["model"] == model]
        most = max(row["threads"] for row in mine)
        if len({row["threads"] for row in mine}) > 1:
            plots[f"{model}: throughput against threads"] = _draw(_threads, mine)
        mine = [row for row in mine if row["threads"] == most]
        if len({row["side"] for row in mine}) > 1:
            plots[f"{model}: latency against tile"] = _draw(_latency, mine)
        if len({row["batch"] for row in mine}) > 1:
            plots[f"{model}: throughput against batch"] = _draw(_throughput, mine)
        plots[f"{model}: accuracy against speed"] = _draw(_accuracy, mine)
    photos = [row for row in rows if row["suite"] == "photo"]
    for model in dict.fromkeys(row["model"] for row in photos):
        mine = [row for row in photos if row["model"] == model]
        plots[f"{model}: a whole photo"] = _draw(_photo, mine)
    if sizes:
        plots["time and memory against the size of the result"] = _draw(_sizes, sizes)
    if stages:
        plots["where the time of one photo goes"] = _draw(_stages, stages)
    return plots


def _draw(fill: Callable[[Axes, list[Row]], None], rows: list[Row]) -> str:
    # fixed ids, so that the same figures give the same file
    with mpl.rc_context({"svg.hashsalt": "restora", "svg.fonttype": "path", "font.size": 9}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        fill(axes, rows)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _latency(axes: Axes, rows: list[Row]) -> None:
    smallest = min(row["batch"] for row in rows)
    for way, mine in _by_way([row for row in rows if row["batch"] == smallest]).items():
        mine = sorted(mine, key=lambda row: row["side"])
        sides = [row["side"] for row in mine]
        median = [row["seconds"]["median"] * 1e3 for row in mine]
        axes.plot(sides, median, marker="o", ls=_style(mine[0]), label=way)
        slow = [row["seconds"]["slowest"] * 1e3 for row in mine]
        fast = [row["seconds"]["fastest"] * 1e3 for row in mine]
        axes.fill_between(sides, fast, slow, alpha=0.15)
    axes.set(xlabel="side of the tile, pixels", ylabel="ms a batch", yscale="log")
    axes.set_xticks(sorted({row["side"] for row in rows}))
    axes.legend(fontsize=7)


def _throughput(axes: Axes, rows: list[Row]) -> None:
    side = min(row["side"] for row in rows)
    for way, mine in _by_way([row for row in rows if row["side"] == side]).items():
        mine = sorted(mine, key=lambda row: row["batch"])
        axes.plot(
            [row["batch"] for row in mine],
            [row["mp_per_s"] for row in mine],
            marker="o",
            ls=_style(mine[0]),
            label=way,
        )
    axes.set(xlabel=f"batch, of tiles of {side} pixels", ylabel="MP/s of input")
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({row["batch"] for row in rows}))
    axes.legend(fontsize=7)


def _threads(axes: Axes, rows: list[Row]) -> None:
    side, batch = min(row["side"] for row in rows), min(row["batch"] for row in rows)
    chosen = [row for row in rows if row["side"] == side and row["batch"] == batch]
    for way, mine in _by_way(chosen).items():
        mine = sorted(mine, key=lambda row: row["threads"])
        counts = [row["threads"] for row in mine]
        speeds = [row["mp_per_s"] for row in mine]
        axes.plot(counts, speeds, marker="o", ls=_style(mine[0]), label=way)
    axes.set(xlabel=f"threads, tiles of {side} pixels, batch {batch}", ylabel="MP/s of input")
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({row["threads"] for row in rows}))
    axes.legend(fontsize=7)


def _accuracy(axes: Axes, rows: list[Row]) -> None:
    best: dict[str, Row] = {}
    for row in rows:
        way = f"{row['way']}, {row['precision']}"
        if way not in best or row["mp_per_s"] > best[way]["mp_per_s"]:
            best[way] = row
    # the first FP32 way is what accuracy is measured against: it has no distance to itself
    most = max((row["psnr_mean"] for row in best.values() if row["psnr_mean"] < 150), default=100)
    for way, row in best.items():
        exact = row["psnr_mean"] >= 150
        axes.scatter(
            row["mp_per_s"],
            most + 4 if exact else row["psnr_mean"],
            marker="o" if row["ours"] else "s",
            s=60,
            label=f"{way}{' (the reference)' if exact else ''}",
        )
    axes.axhline(50, color="gray", lw=1, ls="--")
    axes.text(axes.get_xlim()[0], 50.4, "gate, 50 dB", fontsize=7, color="gray")
    axes.set(xlabel="MP/s of input, best tile and batch", ylabel="PSNR against FP32, dB")
    axes.set_xlim(left=0)
    axes.legend(fontsize=7)


def _photo(axes: Axes, rows: list[Row]) -> None:
    labels = [f"{row['way']}, {row['precision']}" for row in rows]
    seconds = [row["seconds"]["median"] for row in rows]
    colors = ["tab:green" if row["ours"] else "tab:gray" for row in rows]
    # the published way was measured once for each setting: bars of one name would lie on another
    places = range(len(rows))
    axes.barh(places, seconds, color=colors)
    axes.set_yticks(places, labels, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel=f"s, one photo of {rows[0]['input_mp']:.2f} MP")


def _sizes(axes: Axes, rows: list[Row]) -> None:
    memory = axes.twinx()
    for way, mine in _by_way(rows).items():
        mine = sorted(mine, key=lambda row: row["output_mp"])
        sizes = [row["output_mp"] for row in mine]
        seconds = [row["seconds"]["median"] for row in mine]
        axes.plot(sizes, seconds, marker="o", label=f"{mine[0]['model']}, {way}: time")
        without = [row["peak_without_result_mb"] for row in mine]
        memory.plot(sizes, without, marker="s", ls=":", color="gray", label="memory")
    axes.set(xlabel="MP of the result", ylabel="s, whole command")
    axes.set_ylim(bottom=0)
    memory.set_ylabel("peak memory beyond the result, MB (dotted)")
    memory.set_ylim(bottom=0)
    axes.legend(fontsize=7)


def _stages(axes: Axes, rows: list[Row]) -> None:
    labels = [f"{row['model']}\n{row['way']}, {row['precision']}" for row in rows]
    left = [0.0] * len(rows)
    for stage in rows[0]["stages"]:
        widths = [row["stages"].get(stage, 0.0) for row in rows]
        axes.barh(labels, widths, left=left, label=stage)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set(xlabel=f"s, one photo of {rows[0]['input_mp']:.1f} MP")
    axes.legend(fontsize=7)


def _by_way(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row['way']}, {row['precision']}", []).append(row)
    return found


def _style(row: Row) -> str:
    return "-" if row["ours"] else "--"
