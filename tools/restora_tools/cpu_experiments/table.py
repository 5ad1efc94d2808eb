"""The experiments as tables for docs/benchmarks.md."""

from __future__ import annotations

from typing import Any

from restora_tools.page_tables import heads_of, row_of

Row = dict[str, Any]
LOADING = "load time"


def experiments_table(result: Row) -> str:
    """Times of each variant, and the machine below them."""
    rows = [row for row in result["rows"] if not row["experiment"].startswith(LOADING)]
    models = list(dict.fromkeys((row["model"], row["side"]) for row in rows))
    heads = ["experiment", "variant"]
    for model, side in models:
        heads += [f"{model}, {side} px", "relative time"]
    lines = heads_of([*heads, "PSNR vs. PyTorch FP32"])
    for experiment, variant in dict.fromkeys((r["experiment"], r["variant"]) for r in rows):
        found = _of(rows, experiment, variant)
        cells = [experiment, variant]
        for model, _ in models:
            row = found[model]
            cells += [f"{row['seconds'] * 1e3:.0f} ms", f"{row['share']:.2f}"]
        accuracy = " and ".join(f"{found[model]['psnr_mean']:.1f}" for model, _ in models)
        lines.append(row_of([*cells, f"{accuracy} dB"]))
    machine = result["machine"]
    words = (
        f"{machine['cpu']}, {result['threads']} threads; ONNX Runtime {machine['onnxruntime']}, "
        f"OpenVINO {machine['openvino']}, ncnn {machine['ncnn']}; published weights, medians of "
        f"{result['repeats']} interleaved runs, each variant in a process of its own."
    )
    return "\n".join([*lines, "", words])


def loading_table(result: Row) -> str:
    """Seconds until a network is loaded."""
    rows = [row for row in result["rows"] if row["experiment"].startswith(LOADING)]
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines = heads_of(["runtime", "loads", *models])
    for experiment, variant in dict.fromkeys((r["experiment"], r["variant"]) for r in rows):
        found = _of(rows, experiment, variant)
        cells = [experiment.removeprefix(f"{LOADING} of "), variant]
        lines.append(row_of([*cells, *(f"{found[model]['load_s']:.2f} s" for model in models)]))
    return "\n".join(lines)


def _of(rows: list[Row], experiment: str, variant: str) -> dict[str, Row]:
    """By model."""
    wanted = (experiment, variant)
    return {row["model"]: row for row in rows if (row["experiment"], row["variant"]) == wanted}
