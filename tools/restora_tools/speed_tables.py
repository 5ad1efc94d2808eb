"""Speed tables: a summary for the README, all measurements for docs/benchmarks.md."""

from __future__ import annotations

from typing import Any

from restora_tools.page_tables import heads_of, row_of

Row = dict[str, Any]
FP32_PSNR = 70.0
PRECISION_NAMES = {
    "fp32": "FP32",
    "bf16": "bf16",
    "fp16": "FP16",
    "int8": "INT8",
    "default": "default",
}


def speed_summary(benches: list[Row], throughput: Row) -> str:
    """Seconds per megapixel: one row for each backend, peers first, one column for each model.
    Below it end-to-end speedups and the machine."""
    rows = [row for bench in benches for row, _ in _with_shares(bench)]
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines = [row_of(["", "precision", *models]), row_of(["---", "---", *["---:"] * len(models)])]
    lines += [row_of(cells) for cells in summary_rows(rows, models)]
    sides = {row["model"]: row["side"] for row in rows}
    words = (
        "Seconds per megapixel of input; lower is better. "
        f"One tile per call, {_tile_sides(sides)}. {_bench_machine(benches[0])} "
        f"{_end_to_end(throughput)}"
    )
    return "\n".join([*lines, "", words])


def summary_rows(rows: list[Row], models: list[str]) -> list[list[str]]:
    """Cells of the summary: every peer, then the fastest backend of restora in each precision."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in sorted(rows, key=lambda row: row["ours"]):
        if row["ours"]:
            key = ("**restora**", PRECISION_NAMES[row["precision"]])
        else:
            key = (row["way"], PRECISION_NAMES[row["precision"]])
        speeds = found.setdefault(key, {})
        speeds[row["model"]] = max(speeds.get(row["model"], 0.0), float(row["mp_per_s"]))
    return [
        [name, precision, *[_seconds(speeds.get(model)) for model in models]]
        for (name, precision), speeds in found.items()
    ]


def _seconds(mp_per_s: float | None) -> str:
    if mp_per_s is None:
        return "–"
    seconds = 1 / mp_per_s
    return f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}"


def _tile_sides(sides: dict[str, int]) -> str:
    """Such as "128 x 128 pixels (256 x 256 for restora-lite-x2)"."""
    usual = min(sides.values())
    others = [f"{side} x {side} for {model}" for model, side in sides.items() if side != usual]
    return f"{usual} x {usual} pixels" + (f" ({', '.join(others)})" if others else "")


def _name_of(row: Row) -> str:
    name = f"{row['way']}, {PRECISION_NAMES[row['precision']]}"
    return f"**{name}**" if row["ours"] else name


def _end_to_end(throughput: Row) -> str:
    photos = next(row for row in throughput["photos"] if "bf16" in row["what"])["photos_per_s"]
    frames = throughput["video"]["frames_per_s"]
    published = next(value for way, value in photos.items() if "published" in way)
    frames_published = next(value for way, value in frames.items() if "published" in way)
    return (
        "From file to file, with restora-lite-x2 in bf16, a folder of photos takes "
        f"{published / photos['flow']:.0%} and a video "
        f"{frames_published / frames['restora video']:.0%} of the time of the upstream PyTorch "
        "code ([throughput](docs/throughput.md))."
    )


def speed_table(benches: list[Row]) -> str:
    """Every backend on single tiles, of the largest size measured for each model. Below it whole
    photos and the machine."""
    heads = ["model", "backend", "input MP/s", "vs. fastest FP32 peer", "GFLOP/s", "PSNR vs. FP32"]
    lines = heads_of(heads)
    for bench in benches:
        for row, share in _with_shares(bench):
            psnr = "(reference)" if row["psnr_mean"] >= 150 else f"{row['psnr_mean']:.1f} dB"
            speed = [f"{row['mp_per_s']:.3g}", f"{share:.2f}", f"{row['gflops']:.0f}"]
            lines.append(row_of([row["model"], _name_of(row), *speed, psnr]))
    photos = [sentence for bench in benches for sentence in _photo_sentences(bench)]
    return "\n".join([*lines, "", *photos, "", _bench_machine(benches[0])])


def _with_shares(bench: Row) -> list[tuple[Row, float]]:
    """Rows with one tile per call, each with its speed relative to the fastest FP32 peer. A peer
    counts as FP32 if its PSNR is at least FP32_PSNR: some compute in lower precision by default."""
    found = []
    tiles = [
        row
        for row in bench["rows"]
        if row["suite"] == "tiles" and row["batch"] == 1 and row["threads"] == bench["threads"]
    ]
    for model in dict.fromkeys(row["model"] for row in tiles):
        largest = max(row["side"] for row in tiles if row["model"] == model)
        rows = [row for row in tiles if row["model"] == model and row["side"] == largest]
        peers = [row for row in rows if not row["ours"] and row["psnr_mean"] >= FP32_PSNR]
        fastest = max(row["mp_per_s"] for row in peers)
        found += [(row, row["mp_per_s"] / fastest) for row in rows]
    return found


def _photo_sentences(bench: Row) -> list[str]:
    """Compare the whole command with the session alone and with the upstream PyTorch code."""
    photos = [row for row in bench["rows"] if row["suite"] == "photo"]
    sentences = []
    for row in photos:
        if not row["way"].startswith("command"):
            continue
        backend = row["way"].removeprefix("command, ")
        words = (
            f"- `restora restore` with {row['model']} ({backend}, "
            f"{PRECISION_NAMES[row['precision']]}) takes {row['seconds']['median']:.1f} s for a "
            f"photo of {row['input_mp']:.1f} MP: {row['of_session']:.0%} of the throughput of the "
            f"session alone, peak memory {row['peak_mb'] / 1e3:.2f} GB"
        )
        published = [
            other["seconds"]["median"]
            for other in photos
            if other["model"] == row["model"] and not other["ours"]
        ]
        if published:
            times = min(published) / row["seconds"]["median"]
            words += f", {times:.1f} times as fast as the upstream PyTorch code"
        sentences.append(f"{words}.")
    return sentences


def _bench_machine(bench: Row) -> str:
    machine = bench["machine"]
    names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}
    versions = ", ".join(f"{label} {machine[name]}" for name, label in names.items())
    return (
        f"{machine['cpu']}, {bench['threads']} threads, {machine['memory_gib']:.0f} GiB; "
        f"{versions}, ncnn {machine['ncnn']}; medians of interleaved runs. "
        "The large models have synthetic weights, which does not change their speed."
    )
