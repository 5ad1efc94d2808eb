"""Two results side by side: ratios, and whether they are more than their spread."""

from __future__ import annotations

from typing import Any

from rich.table import Table

Row = dict[str, Any]
KEY = ("suite", "model", "way", "precision", "side", "batch", "threads", "output_mp")


def compare_results(old: dict[str, Any], new: dict[str, Any]) -> list[Row]:
    """A row for each measurement that both have: ratio of throughputs (over 1: new is faster),
    the range that both spreads allow, and the change of PSNR in dB."""
    olds = {_key(row): row for row in old["rows"] if "seconds" in row}
    found = []
    for row in new["rows"]:
        before = olds.get(_key(row))
        if before is None or "seconds" not in row:
            continue
        was, now = before["seconds"], row["seconds"]
        change = None
        if "psnr_mean" in row and "psnr_mean" in before:
            change = round(row["psnr_mean"] - before["psnr_mean"], 1)
        found.append(
            {
                **{name: row.get(name) for name in KEY},
                "ratio": round(was["median"] / now["median"], 3),
                "least": round(was["fastest"] / now["slowest"], 3),
                "most": round(was["slowest"] / now["fastest"], 3),
                "psnr_change": change,
            }
        )
    return found


def verdict(row: Row) -> str:
    """faster or slower only if even the spreads leave no doubt."""
    if row["least"] > 1:
        return "faster"
    return "slower" if row["most"] < 1 else "within the spread"


def comparison_table(rows: list[Row]) -> Table:
    table = Table(title="new / old throughput; over 1 is faster")
    for head in ("suite", "model", "backend", "tile", "batch", "ratio", "range", "verdict", "PSNR"):
        table.add_column(head)
    for row in rows:
        change = "" if row["psnr_change"] is None else f"{row['psnr_change']:+.1f} dB"
        table.add_row(
            str(row["suite"]),
            str(row["model"]),
            f"{row['way']}, {row['precision']}",
            "" if row["side"] is None else str(row["side"]),
            "" if row["batch"] is None else str(row["batch"]),
            f"{row['ratio']:.2f}",
            f"{row['least']:.2f} to {row['most']:.2f}",
            verdict(row),
            change,
        )
    return table


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in KEY)
