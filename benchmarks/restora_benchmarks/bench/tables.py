"""Results on the terminal: one line a measurement, accuracy beside speed."""

from __future__ import annotations

from typing import Any

from rich.table import Table

Row = dict[str, Any]


def tile_tables(rows: list[Row], *, wide: bool) -> list[Table]:
    """The suite `tiles`, a table for each model. wide: with percentiles, start-up and memory."""
    return [
        _tile_table(model, [row for row in rows if row["model"] == model], wide=wide)
        for model in dict.fromkeys(row["model"] for row in rows)
    ]


def _tile_table(model: str, rows: list[Row], *, wide: bool) -> Table:
    table = Table(title=f"{model}, tiles", title_justify="left")
    table.add_column("way", no_wrap=True)
    several = len({row["threads"] for row in rows}) > 1
    heads = [*(["threads"] if several else []), "tile", "batch", "ms", "MP/s", "GFLOP/s", "PSNR dB"]
    if wide:
        heads += ["p95 ms", "of peak", "start s", "peak MB"]
    for head in heads:
        table.add_column(head, justify="right")
    for row in rows:
        share = row.get("of_ceiling")
        cells = [
            *([str(row["threads"])] if several else []),
            str(row["side"]),
            str(row["batch"]),
            f"{row['seconds']['median'] * 1e3:.1f}",
            f"{row['mp_per_s']:.3f}",
            f"{row['gflops']:.0f}",
            f"{row['psnr_mean']:.1f}",
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
        table = Table(title=f"{model}, photos", title_justify="left")
        table.add_column("way", no_wrap=True)
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
