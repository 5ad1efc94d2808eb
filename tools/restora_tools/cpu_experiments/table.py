"""The experiments as a table for docs/benchmarks.md."""

from __future__ import annotations

from typing import Any

from restora_tools.page_tables import heads_of, row_of

Row = dict[str, Any]


def experiments_table(result: Row) -> str:
    """Times of each variant, and the machine below them."""
    rows = result["rows"]
    models = list(dict.fromkeys((row["model"], row["side"]) for row in rows))
    heads = ["experiment", "variant"]
    for model, side in models:
        heads += [f"{model}, {side} px", "relative time"]
    lines = heads_of([*heads, "PSNR vs. PyTorch FP32", "loads in"])
    for experiment, variant in dict.fromkeys((r["experiment"], r["variant"]) for r in rows):
        found = _of(rows, experiment, variant)
        cells = [experiment, variant]
        for model, _ in models:
            row = found[model]
            cells += [f"{row['seconds'] * 1e3:.0f} ms", f"{row['share']:.2f}"]
        accuracy = " and ".join(f"{found[model]['psnr_mean']:.1f}" for model, _ in models)
        loading = " and ".join(f"{found[model]['load_s']:.2f}" for model, _ in models)
        lines.append(row_of([*cells, f"{accuracy} dB", f"{loading} s"]))
    machine = result["machine"]
    repeats = min(row["repeats"] for row in rows)
    words = (
        f"{machine['cpu']}, {result['threads']} threads; ONNX Runtime {machine['onnxruntime']}, "
        f"OpenVINO {machine['openvino']}, ncnn {machine['ncnn']}; published weights, medians of "
        f"at least {repeats} interleaved runs, each variant in a process of its own."
    )
    return "\n".join([*lines, "", words])


def _of(rows: list[Row], experiment: str, variant: str) -> dict[str, Row]:
    """By model."""
    wanted = (experiment, variant)
    return {row["model"]: row for row in rows if (row["experiment"], row["variant"]) == wanted}
