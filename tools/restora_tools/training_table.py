"""The table of the trainer's speed."""

from __future__ import annotations

from typing import Any

from restora_tools.page_tables import heads_of, row_of

_FIRST, *_OTHERS = WAYS = ("plain loop", "fp32", "bf16")


def training_table(result: dict[str, Any]) -> str:
    """Speed and memory of the trainer beside the plain loop, and its waiting for data."""
    heads = ["network, losses", "batch", "plain loop", "FP32", "bf16", "memory (plain, FP32, bf16)"]
    lines = heads_of(heads)
    for row in result["rows"]:
        speed, ratio, peak = row["steps_per_s"], row["ratio"], row["peak_megabytes"]
        cells = [f"{speed[_FIRST]:.2f} steps/s"]
        cells += [f"{speed[way]:.2f} steps/s ({ratio[way]:.2f} x)" for way in _OTHERS]
        cells.append(", ".join(f"{peak[way] / 1000:.1f}" for way in WAYS) + " GB")
        size = f"{row['batch']} x {row['clean_patch']} px"
        lines.append(row_of([row["setting"], size, *cells]))
    waits = "; ".join(
        f"{row['waiting_share']:.0%} with {row['recipe']} in bf16 at {row['steps_per_s']:.1f} "
        f"steps/s (degradation `{row['degradation']}`)"
        for row in result["waiting"]
    )
    machine = result["machine"]
    words = (
        "The plain loop is eager PyTorch in FP32 with the same network, batch, losses and "
        "optimizers as the published training code. "
        f"{machine['cpu']}, {result['threads']} threads, PyTorch {machine['torch']}; medians of "
        f"{result['rounds']} interleaved rounds. Share of the time that a run waits for data, with "
        f"one worker thread on the same cores: {waits}."
    )
    return "\n".join([*lines, "", words])
