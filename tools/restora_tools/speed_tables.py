"""Tables of speed: of README, a line for each model; of docs, a line for each way."""

from __future__ import annotations

from typing import Any

from restora_tools.page_tables import row_of

Row = dict[str, Any]
FP32_PSNR = 70.0
_PRECISIONS = ("fp32", "bf16", "int8")


def speed_summary(benches: list[Row], throughput: Row) -> str:
    """For each model eager PyTorch, the peers that no other peer beats in both speed and accuracy,
    and ours in each precision, fastest first; then folders and videos end to end, and the
    machine."""
    heads = ["model", "way", "MP/s", "PSNR to FP32"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for bench in benches:
        rows = [row for row, _ in _with_shares(bench)]
        for model in dict.fromkeys(row["model"] for row in rows):
            shown = choose_rows([row for row in rows if row["model"] == model])
            lines += [row_of([model, *_speed_cells(row)]) for row in shown]
    words = (
        "Megapixels of input a second on tiles of 128, one at a time, fastest first. Shown are "
        "eager PyTorch and each peer that no other peer beats in both speed and accuracy; "
        "[docs/benchmarks.md](docs/benchmarks.md) has all. "
        f"{_end_to_end(throughput)} {_bench_machine(benches[0])}"
    )
    return "\n".join([*lines, "", words])


def choose_rows(rows: list[Row]) -> list[Row]:
    """Of one model's rows those that README shows, fastest first; a peer that wins is shown."""
    peers = [row for row in rows if not row["ours"]]
    shown = [row for row in peers if not any(_beats(other, row) for other in peers)]
    shown += [row for row in peers if row["way"] == "eager PyTorch" and row not in shown]
    for precision in _PRECISIONS:
        ours = [row for row in rows if row["ours"] and row["precision"] == precision]
        shown += [max(ours, key=_speed_of)] if ours else []
    return sorted(shown, key=_speed_of, reverse=True)


def _beats(one: Row, other: Row) -> bool:
    """Whether `one` is faster and no less accurate."""
    return _speed_of(one) > _speed_of(other) and one["psnr_mean"] >= other["psnr_mean"]


def _speed_of(row: Row) -> float:
    return float(row["mp_per_s"])


def _speed_cells(row: Row) -> list[str]:
    psnr = "(reference)" if row["psnr_mean"] >= 150 else f"{row['psnr_mean']:.0f} dB"
    return [_name_of(row), f"{row['mp_per_s']:.2g}", psnr]


def _name_of(row: Row) -> str:
    name = row["way"] if row["precision"] == "as it comes" else f"{row['way']}, {row['precision']}"
    return f"**{name}**" if row["ours"] else name


def _end_to_end(throughput: Row) -> str:
    photos = next(row for row in throughput["photos"] if "bf16" in row["what"])["photos_per_s"]
    frames = throughput["video"]["frames_per_s"]
    published = next(value for way, value in photos.items() if "published" in way)
    frames_published = next(value for way, value in frames.items() if "published" in way)
    return (
        f"From file to file with restora-lite-x2 (bf16): a folder of photos "
        f"{photos['flow'] / published:.1f} times as fast as the published way, a video "
        f"{frames['restora video'] / frames_published:.1f} times ([how](docs/throughput.md))."
    )


def speed_table(benches: list[Row]) -> str:
    """Every way on tiles one by one, the largest that was measured of each model; whole photos
    below, then the machine."""
    heads = ["model", "way", "MP/s in", "of the fastest FP32 peer", "GFLOP/s", "PSNR to FP32"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for bench in benches:
        for row, share in _with_shares(bench):
            psnr = "(reference)" if row["psnr_mean"] >= 150 else f"{row['psnr_mean']:.1f} dB"
            speed = [f"{row['mp_per_s']:.3g}", f"{share:.2f}", f"{row['gflops']:.0f}"]
            lines.append(row_of([row["model"], _name_of(row), *speed, psnr]))
    photos = [sentence for bench in benches for sentence in _photo_sentences(bench)]
    return "\n".join([*lines, "", *photos, "", _bench_machine(benches[0])])


def _with_shares(bench: Row) -> list[tuple[Row, float]]:
    """Rows of one tile at a time, and their speed against the fastest peer that computes in FP32
    (the artifact's own gate, 70 dB, tells that it does)."""
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
    """The whole command against the session alone and against the published way."""
    photos = [row for row in bench["rows"] if row["suite"] == "photo"]
    sentences = []
    for row in photos:
        if not row["way"].startswith("command"):
            continue
        backend = row["way"].removeprefix("command, ")
        words = (
            f"- {row['model']}, whole command ({backend}, {row['precision']}), photo of "
            f"{row['input_mp']:.1f} MP: {row['seconds']['median']:.1f} s, {row['of_session']:.2f} "
            f"of the session's throughput, peak memory {row['peak_mb'] / 1e3:.2f} GB"
        )
        published = [
            other["seconds"]["median"]
            for other in photos
            if other["model"] == row["model"] and not other["ours"]
        ]
        if published:
            times = min(published) / row["seconds"]["median"]
            words += f"; {times:.1f} times as fast as the published way"
        sentences.append(f"{words}.")
    return sentences


def _bench_machine(bench: Row) -> str:
    machine = bench["machine"]
    names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch"}
    versions = ", ".join(f"{label} {machine[name]}" for name, label in names.items())
    return (
        f"{machine['cpu']}, {bench['threads']} threads, {machine['memory_gib']:.0f} GiB; "
        f"{versions}, ncnn {machine['ncnn']}. Medians of runs that took turns; bold is restora. "
        "Full-size models have synthetic weights, which changes neither speed nor size."
    )
