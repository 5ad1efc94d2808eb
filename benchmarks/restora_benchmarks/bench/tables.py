"""Results on the terminal: one line a measurement, accuracy beside speed."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

Row = dict[str, Any]


def result_tables(result: dict[str, Any], *, wide: bool) -> list[Table]:
    """All tables of a result. wide: with percentiles, start-up and memory."""
    rows = result["rows"]
    tiles = [row for row in rows if row["suite"] == "tiles"]
    photos = [row for row in rows if row["suite"] in ("photo", "size")]
    return [*tile_tables(tiles, wide=wide), *photo_tables(photos)]


def tile_tables(rows: list[Row], *, wide: bool) -> list[Table]:
    """The suite `tiles`, a table for each model and number of threads. wide: with percentiles,
    start-up and memory."""
    return [
        _tile_table(
            f"{model}, tiles, {threads} thread{'s' * (threads > 1)}",
            [row for row in rows if (row["model"], row["threads"]) == (model, threads)],
            wide=wide,
        )
        for model, threads in dict.fromkeys((row["model"], row["threads"]) for row in rows)
    ]


def _tile_table(title: str, rows: list[Row], *, wide: bool) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("backend", no_wrap=True)
    heads = ["tile", "batch", "ms", "MP/s", "GFLOP/s" if wide else "GF/s", "PSNR dB"]
    if wide:
        heads += ["p95 ms", "of peak", "start s", "peak MB"]
    for head in heads:
        table.add_column(head, justify="right")
    for row in rows:
        share = row.get("of_ceiling")
        cells = [
            str(row["side"]),
            str(row["batch"]),
            f"{row['seconds']['median'] * 1e3:.1f}",
            f"{row['mp_per_s']:.3f}",
            f"{row['gflops']:.0f}",
            "exact" if row["psnr_mean"] >= 150 else f"{row['psnr_mean']:.1f}",
        ]
        if wide:
            cells += [
                f"{row['seconds']['p95'] * 1e3:.1f}",
                f"{share:.0%}" if share else "",
                f"{row['startup_s']:.2f}" if "startup_s" in row else "",
                f"{row['peak_mb']}" if "peak_mb" in row else "",
            ]
        table.add_row(f"{row['way']}, {row['precision']}", *cells)
    return table


def photo_tables(rows: list[Row]) -> list[Table]:
    """The suites `photo` and `size`, a table for each model."""
    tables = []
    for model in dict.fromkeys(row["model"] for row in rows):
        table = Table(title=f"{model}, photos", title_justify="left", box=SIMPLE_HEAD)
        table.add_column("backend", no_wrap=True)
        for head in ("MP in", "s", "MP/s", "of session", "peak MB"):
            table.add_column(head, justify="right")
        for row in rows:
            if row["model"] != model:
                continue
            table.add_row(
                f"{row['way']}, {row['precision']}",
                f"{row['input_mp']:.2f}",
                f"{row['seconds']['median']:.2f}",
                f"{row['mp_per_s']:.3f}",
                f"{row['of_session']:.2f}" if "of_session" in row else "",
                f"{row['peak_mb']}" if "peak_mb" in row else "",
            )
        tables.append(table)
    return tables
