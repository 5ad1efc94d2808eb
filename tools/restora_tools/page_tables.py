"""Tables of pages that show what was tried: INT8, and choices for the CPU."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
_BF16 = "OpenVINO, bf16 between"


def int8_table(result: dict[str, Any]) -> str:
    """Layers, accuracy and speed of each runtime, of the bundled artifact and of two networks with
    recipe weights."""
    heads = ["model", "convolutions in 8 bits", "PSNR to FP32, mean", "worst tile"]
    heads += ["INT8, OpenVINO", "INT8, OpenVINO with bf16 between", "INT8, ONNX Runtime"]
    heads += ["FP32, OpenVINO", "bf16, OpenVINO"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in result["rows"]:
        times = {(s["precision"], s["runtime"]): f"{s['times']:.2f}" for s in row["speed"]}
        recipe = row.get("recipe_weights", False)
        total = row["layers"] + len(row["kept"])
        lines.append(
            row_of(
                [
                    f"{row['model']} shape" if recipe else f"**{row['model']}**",
                    f"{row['layers']} of {total}",
                    "(recipe weights)" if recipe else f"{row['psnr_mean']:.1f} dB",
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
    lost = "; ".join(
        f"{kind}: {figures['lost']:.2f} dB of {figures['fp32']:.2f}"
        for kind, figures in lite["held_out_psnr"].items()
    )
    kept = ", ".join(f"`{name}`" for name in lite["kept"])
    machine = result["machine"]
    words = (
        f"Speed: times FP32 on ONNX Runtime, one tile of 128 (a face of 512), medians of runs that "
        f"took turns; {machine['cpu']}, {machine['cores_allowed']} cores, ONNX Runtime "
        f"{machine['onnxruntime']}, OpenVINO {machine['openvino']}. Of {lite['model']} "
        f"{kept} stay in FP32; the file takes {lite['size_mb']['int8']:.2f} MB instead of "
        f"{lite['size_mb']['fp32']:.2f}; lost against the clean held-out photos: {lost}."
    )
    return "\n".join([*lines, "", words])


def choices_table(result: dict[str, Any]) -> str:
    """Time of each form, setting and tile size as a share of the first or of ours."""
    heads = ["what", "choice", "ONNX Runtime", "OpenVINO f32", "OpenVINO bf16"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in result["rows"]:
        found.setdefault((row["what"], row["choice"]), {})[row["runtime"]] = row["share"]
    for (what, choice), shares in found.items():
        cells = [f"{shares[name]:.2f}" if name in shares else "" for name in heads[2:]]
        lines.append(row_of([what, choice, *cells]))
    return "\n".join(lines)


def row_of(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
