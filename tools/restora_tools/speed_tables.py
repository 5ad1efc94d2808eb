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
SUMMARY_SIDE = 256


def speed_summary(benches: list[Row], throughput: Row) -> str:
    """Seconds per megapixel: one row for each backend, peers first, one column for each model.
    Below it end-to-end speedups and the machine."""
    rows = [row for bench in benches for row in tile_rows(bench) if row["side"] == SUMMARY_SIDE]
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines = [row_of(["", "precision", *models]), row_of(["---", "---", *["---:"] * len(models)])]
    lines += [row_of(cells) for cells in summary_rows(rows, models)]
    words = (
        "Seconds per megapixel of input; lower is better. One tile per call, "
        f"{SUMMARY_SIDE} x {SUMMARY_SIDE} pixels of a photo. {_bench_machine(benches)} "
        f"{_end_to_end(throughput)}"
    )
    return "\n".join([*lines, "", words])


def summary_rows(rows: list[Row], models: list[str]) -> list[list[str]]:
    """Cells of the summary: every peer, then the fastest backend of restora in each precision."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in sorted(rows, key=lambda row: row["ours"]):
        if row["ours"]:
            if row["precision"] == "default":  # one of the others, as `auto` chose it
                continue
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


def _name_of(row: Row) -> str:
    name = f"{row['way']}, {PRECISION_NAMES[row['precision']]}"
    if row["way"] == "restora auto":
        runtime, _, precision = row["runs_on"].rpartition(", ")
        name += f" ({runtime.rpartition(' ')[0]}, {PRECISION_NAMES[precision]})"
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
    """Every backend on single tiles: one row for each, two columns for each size. Below it the
    machine."""
    rows = [row for bench in benches for row in tile_rows(bench)]
    sides = sorted({row["side"] for row in rows})
    heads = ["model", "backend"]
    for side in sides:
        heads += [f"MP/s, {side} px", "vs. fastest FP32 peer"]
    lines = heads_of([*heads, "PSNR vs. PyTorch FP32", "least"])
    for model in dict.fromkeys(row["model"] for row in rows):
        of_model = [row for row in rows if row["model"] == model]
        shares = {side: _shares([r for r in of_model if r["side"] == side]) for side in sides}
        for name in dict.fromkeys(map(_name_of, of_model)):
            found = {row["side"]: row for row in of_model if _name_of(row) == name}
            cells = [model, name]
            for side in sides:
                row = found.get(side)
                share = shares[side].get(name)
                cells += [
                    f"{row['mp_per_s']:.3g}" if row else "",
                    f"{share:.2f}" if share else "",
                ]
            lines.append(row_of([*cells, *_psnr_cells(list(found.values()))]))
    return "\n".join([*lines, "", _bench_machine(benches)])


def _psnr_cells(rows: list[Row]) -> list[str]:
    """Of the larger tiles, which show more of each photo; the least of all."""
    mean = rows[-1]["psnr_mean"]
    if mean >= 150:
        return ["(reference)", ""]
    return [f"{mean:.1f} dB", f"{min(row['psnr_min'] for row in rows):.1f} dB"]


def tile_rows(bench: Row) -> list[Row]:
    """Rows with one tile per call, with the most threads."""
    return [
        row
        for row in bench["rows"]
        if row["suite"] == "tiles" and row["batch"] == 1 and row["threads"] == bench["threads"]
    ]


def _shares(rows: list[Row]) -> dict[str, float]:
    """Speed relative to the fastest FP32 peer, by name. A peer counts as FP32 if its PSNR is at
    least FP32_PSNR: some compute in lower precision by default."""
    peers = [row["mp_per_s"] for row in rows if not row["ours"] and row["psnr_mean"] >= FP32_PSNR]
    return {_name_of(row): row["mp_per_s"] / max(peers) for row in rows} if peers else {}


def whole_photo_table(benches: list[Row]) -> str:
    """Whole photos beside tiles of the same backend: how much is lost to overlaps, files and the
    start of the command."""
    heads = ["model", "photo", "way", "s", "MP/s", "MP/s of tiles", "peak memory"]
    lines = heads_of(heads)
    tiles = {
        (row["model"], row["way"], row["precision"]): row["mp_per_s"]
        for bench in benches
        for row in sorted(tile_rows(bench), key=lambda row: row["side"])
    }
    for row in (row for bench in benches for row in bench["rows"] if row["suite"] == "photo"):
        if row["way"].startswith(("session", "Upsampler")):
            continue
        precision = PRECISION_NAMES[row["precision"]]
        if row["ours"]:
            backend = row["way"].partition(", ")[2]
            name = f"**`restora restore`, {backend}, {precision}**"
            key = (row["model"], f"restora {backend}", row["precision"])
        elif "ncnn" in row["way"]:
            name = f"ncnn, {precision}, tiles of 200 px padded by 10"
            key = (row["model"], "ncnn", row["precision"])
        else:
            name = f"eager PyTorch, {precision}, tiles of 256 px padded by 10"
            key = (row["model"], "eager PyTorch", row["precision"])
        lines.append(
            row_of(
                [
                    row["model"],
                    f"{row['input_mp']:.1f} MP",
                    name,
                    f"{row['seconds']['median']:.1f}",
                    f"{row['mp_per_s']:.3g}",
                    f"{tiles[key]:.3g}" if key in tiles else "",
                    f"{row['peak_mb'] / 1e3:.2f} GB" if "peak_mb" in row else "",
                ]
            )
        )
    return "\n".join(lines)


def _bench_machine(benches: list[Row]) -> str:
    machine = benches[0]["machine"]
    names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}
    versions = ", ".join(f"{label} {machine[name]}" for name, label in names.items())
    return (
        f"{machine['cpu']}, {benches[0]['threads']} threads, {machine['memory_gib']:.0f} GiB; "
        f"{versions}, ncnn {machine['ncnn']}; medians of interleaved runs. {_weights_of(benches)}"
    )


def _weights_of(benches: list[Row]) -> str:
    """Whose weights were measured."""
    rows = [row for bench in benches for row in bench["rows"]]
    models = {row["model"]: row["weights"] for row in rows}
    synthetic = [model for model, weights in models.items() if weights == "synthetic"]
    words = "The published models have their published weights"
    if synthetic:
        words += f", except for {' and '.join(synthetic)}, whose synthetic weights change only PSNR"
    return f"{words}."
