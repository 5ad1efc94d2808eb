"""Tables of the INT8 measurements and of the experiments with CPU settings."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
_BF16 = "OpenVINO, bf16 between"


def int8_table(result: dict[str, Any]) -> str:
    """Accuracy and speed of the bundled INT8 model and of two networks with synthetic weights."""
    heads = ["model", "convolutions in INT8", "mean PSNR vs. FP32", "worst tile"]
    heads += ["OpenVINO INT8 + FP32", "OpenVINO INT8 + bf16", "ONNX Runtime INT8"]
    heads += ["OpenVINO FP32", "OpenVINO bf16"]
    lines = heads_of(heads)
    for row in result["rows"]:
        times = {(s["precision"], s["runtime"]): f"{s['times']:.2f}" for s in row["speed"]}
        recipe = row.get("recipe_weights", False)
        total = row["layers"] + len(row["kept"])
        lines.append(
            row_of(
                [
                    f"{row['model']} shape" if recipe else f"**{row['model']}**",
                    f"{row['layers']} of {total}",
                    "(synthetic weights)" if recipe else f"{row['psnr_mean']:.1f} dB",
                    "" if recipe else f"{row['psnr_min']:.1f} dB",
                    times.get(("int8", "OpenVINO"), ""),
                    times.get(("int8", _BF16), ""),
                    times.get(("int8", "ONNX Runtime"), ""),
                    times.get(("fp32", "OpenVINO"), ""),
                    times.get(("fp32", _BF16), ""),
                ]
            )
        )
    (lite,) = (row for row in result["rows"] if "held_out_psnr" in row)
    lost = " and ".join(
        f"{figures['lost']:.2f} dB of {figures['fp32']:.2f} dB ({kind})"
        for kind, figures in lite["held_out_psnr"].items()
    )
    kept = ", ".join(f"`{name}`" for name in lite["kept"])
    machine = result["machine"]
    words = (
        f"The last five columns are speedups over ONNX Runtime in FP32, for one tile of 128 x 128 "
        f"(a face of 512 x 512). {machine['cpu']}, {machine['cores_allowed']} cores; ONNX Runtime "
        f"{machine['onnxruntime']}, OpenVINO {machine['openvino']}; medians of interleaved runs. "
        f"In {lite['model']}, {kept} stay in FP32; the file shrinks from "
        f"{lite['size_mb']['fp32']:.2f} to {lite['size_mb']['int8']:.2f} MB. "
        f"On the held-out photos INT8 costs {lost}."
    )
    return "\n".join([*lines, "", words])


def choices_table(result: dict[str, Any]) -> str:
    """Relative time of each variant, setting and tile size."""
    heads = ["experiment", "variant", "ONNX Runtime", "OpenVINO f32", "OpenVINO bf16"]
    lines = heads_of(heads)
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in result["rows"]:
        found.setdefault((row["what"], row["choice"]), {})[row["runtime"]] = row["share"]
    for (what, choice), shares in found.items():
        cells = [f"{shares[name]:.2f}" if name in shares else "" for name in heads[2:]]
        lines.append(row_of([what, choice, *cells]))
    return "\n".join(lines)


def fast_table(result: Row) -> str:
    """Teacher, student and bicubic enlargement on the held-out photos."""
    lines = heads_of(["network", "PSNR to the teacher", "PSNR", "SSIM", "input MP/s", "file in MB"])
    for row in result["rows"]:
        to_teacher = row["psnr_teacher"]
        size = row["megabytes"]
        lines.append(
            row_of(
                [
                    f"**{row['name']}**" if row["name"] == "restora-fast-x4" else row["name"],
                    "–" if to_teacher is None else f"{to_teacher:.2f} dB",
                    f"{row['psnr_truth']:.2f} dB",
                    f"{row['ssim_truth']:.4f}",
                    f"{row['megapixels_per_s']:.3f}" if size is not None else "–",
                    "–" if size is None else f"{size:.1f}",
                ]
            )
        )
    machine = result["machine"]
    photos = ", ".join(f"`{name}`" for name in result["photos"])
    words = (
        f"Means over {result['pairs']} patches of {result['side']} x {result['side']} pixels of "
        f"{photos}, degraded with Real-ESRGAN's second-order model (`make fast-table`)"
        f". PSNR and SSIM are against the clean photo. {machine['cpu']}, "
        f"{machine['cores_allowed']} cores; both networks in the fastest precision that meets its "
        "accuracy threshold, measured in turns."
    )
    return "\n".join([*lines, "", words])


def heads_of(names: list[str]) -> list[str]:
    """The two lines that begin a table."""
    return [row_of(names), row_of(["---"] * len(names))]


def seams_table(rows: list[Row]) -> str:
    """PSNR at seams of large networks, one column for each overlap."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        found.setdefault(row["model"], {})[row["overlap_px"]] = row["seam_psnr_db"]
    overlaps = sorted({overlap for figures in found.values() for overlap in figures})
    lines = [row_of(["overlap", *map(str, overlaps)]), row_of(["---"] * (1 + len(overlaps)))]
    for model, figures in found.items():
        cells = [f"{figures[o]:.1f} dB" if o in figures else "" for o in overlaps]
        lines.append(row_of([model, *cells]))
    return "\n".join(lines)


def row_of(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
