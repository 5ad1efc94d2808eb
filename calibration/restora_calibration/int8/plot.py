"""Plot the PSNR against the share of INT8, and the sensitivity of the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure


def plot_calibration(report: dict[str, Any], path: Path) -> None:
    """report  as run.describe gives it; path  .svg or .png"""
    with mpl.rc_context({"svg.hashsalt": "restora", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8.6, 3.6), layout="constrained")
        curve, layers = figure.subplots(1, 2)
        for axes in (curve, layers):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25)
        _draw_curve(curve, report)
        _draw_layers(layers, report["sensitivity"])
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=130)


def _draw_curve(axes: Any, report: dict[str, Any]) -> None:
    points = report["curve"]
    shares = [100 * point["products"] for point in points]
    axes.plot(shares, [point["psnr_mean"] for point in points], marker="o", label="mean")
    least = [point["psnr_min"] for point in points]
    axes.plot(shares, least, marker=".", ls=":", color="tab:gray", label="worst tile")
    axes.axhline(report["min_psnr"], color="tab:red", lw=1, ls="--", label="gate")
    best = report["best"]
    axes.plot(
        100 * best["products"],
        best["psnr_mean"],
        "*",
        ms=14,
        color="tab:green",
        label="chosen" if report["passed"] else "closest",
    )
    axes.set(xlabel="multiplications in 8 bits, %", ylabel="PSNR against FP32, dB")
    axes.legend(fontsize=7)


def _draw_layers(axes: Any, found: list[dict[str, Any]]) -> None:
    worst = sorted(found, key=lambda row: row["mean"])[:16]
    axes.barh([row["layer"] for row in worst], [row["mean"] for row in worst], color="tab:blue")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    least = min((row["mean"] for row in worst), default=0)
    axes.set_xlim(left=max(0, least - 5))
    axes.set(xlabel="PSNR with this layer alone in 8 bits, dB", title="most sensitive layers")
