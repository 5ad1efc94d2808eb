"""The table of published networks in 8 bits."""

from __future__ import annotations

from typing import Any

from restora_tools.page_tables import heads_of, row_of

Row = dict[str, Any]


def published_table(result: dict[str, Any]) -> str:
    """Accuracy and speed of what passes, and the closest assignment of what does not."""
    heads = ["network", "convolutions in INT8", "share of the work", "PSNR on unseen tiles"]
    heads += ["PSNR on held-out photos", "bf16 there", "times bf16", "times FP32", "size"]
    lines = heads_of(heads)
    lines += [row_of(_cells(row)) for row in result["rows"]]
    machine = result["machine"]
    count = machine["cores_allowed"]
    cores = f"{count} core" if count == 1 else f"{count} cores"
    sides = ", ".join(
        f"{row['timed_side']} ({row['model']})" for row in result["rows"] if row["passed"]
    )
    words = (
        "In bold: at least 1.3 times as fast as bf16. PSNR against FP32, mean and worst tile. "
        "Unseen tiles: tiles of the free photos that neither calibration nor search used; held-out "
        "photos: 32 tiles of other photos, in the session that `--precision int8` opens (OpenVINO, "
        "INT8 with bf16 around it)."
    )
    if sides:
        words += (
            f" Speed: medians of {result['rows'][0].get('turns', 7)} turns in one process beside "
            f"OpenVINO in bf16 and FP32, on tiles of {sides} pixels."
        )
    words += f" {machine['cpu']}, {cores}; OpenVINO {machine['openvino']}."
    return "\n".join([*lines, "", words, "", *_gains(result["rows"])])


def _gains(rows: list[Row]) -> list[str]:
    """What the steps of calibration gain, with all inner layers in INT8."""
    heads = ["all inner layers in INT8, mean PSNR", "plain ranges", "equal channels"]
    heads += ["best method of ranges", "rounded weights", "fine-tuned weights"]
    lines = heads_of(heads)
    for row in rows:
        tried = row["whole_network_in_8_bits"]
        ranges = max(mean for words, mean in tried.items() if words.startswith("ranges by"))
        found = [tried["ranges by max"], tried["equalized channels"], ranges]
        found.append(tried["the best of them with rounded weights"])
        cells = [f"{mean:.1f} dB" for mean in found]
        tuning = row.get("fine_tuning")
        cells.append("" if tuning is None else f"{tuning['after']['mean']:.1f} dB")
        lines.append(row_of([row["model"], *cells]))
    return lines


def _cells(row: Row) -> list[str]:
    best, judged = row["best"], row["judged"]
    total = best["layers"] + len(row["kept"])
    unseen = judged or {"mean": best["psnr_mean"], "least": best["psnr_min"]}
    cells = [
        f"**{row['model']}**" if row.get("fast_enough") else row["model"],
        f"{best['layers']} of {total}",
        f"{best['products']:.0%}",
        f"{unseen['mean']:.1f} / {unseen['least']:.1f} dB",
    ]
    if not row["passed"]:
        return [*cells, "refused", "", "", "", ""]
    held, bf16 = row["held_out_int8"], row["held_out_bf16"]
    seconds = row["seconds"]
    return [
        *cells,
        f"{held['mean']:.1f} / {held['least']:.1f} dB",
        f"{bf16['mean']:.1f} / {bf16['least']:.1f} dB",
        f"{row['times_bf16']:.2f}",
        f"{seconds['fp32']['median'] / seconds['int8']['median']:.2f}",
        f"{row['size_mb']['int8']:.1f} MB (FP32 {row['size_mb']['fp32']:.1f})",
    ]
