"""One HTML file with everything in it: machine, tables, plots; opens without a network."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from restora.atomic import write_atomically
from restora_benchmarks.bench.plots import make_plots

Row = dict[str, Any]
_NOTE = (
    "Medians; the backends of one model were measured in turns, in one run. PSNR is against the "
    "first FP32 backend of that run. Backends of other projects are gray and dashed. The share of "
    "the peak is against the faster of large matrix products and 3x3 convolutions, measured in the "
    "same run, bf16 against bf16."
)
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem;
       padding: 0 1rem; color: #1c1c1c; background: #fff; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #e2e2e2; text-align: right;
         white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
tr.peer td { color: #666; }
figure { margin: 1rem 0; }
figcaption { font-weight: 600; }
svg { max-width: 100%; height: auto; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
p.note { color: #555; max-width: 46rem; }
"""


def write_report(path: Path, result: dict[str, Any]) -> None:
    """Into a folder that exists. Raises OutputError."""
    write_atomically(path, make_report(result).encode())


def make_report(result: dict[str, Any]) -> str:
    """The whole page."""
    rows = result["rows"]
    plots = "\n".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"
        for title, svg in make_plots(rows).items()
    )
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>restora bench</title><style>{_STYLE}</style></head><body>",
        "<h1>restora bench</h1>",
        f"<p>{escape(describe_machine(result))}</p>",
        f"<p class='note'>{_NOTE}</p>",
        f"<div class='plots'>{plots}</div>",
        _tile_section([row for row in rows if row["suite"] == "tiles"]),
        _photo_section([row for row in rows if row["suite"] in ("photo", "size")]),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def describe_machine(result: dict[str, Any]) -> str:
    """CPU, cores, memory, versions and ceilings in a sentence."""
    machine = result["machine"]
    gpu = f", {machine['gpu']}" if machine.get("gpu") else ""
    versions = ", ".join(
        f"{name} {machine[name]}"
        for name in ("restora", "onnxruntime", "openvino", "torch", "ncnn", "numpy")
        if machine.get(name)
    )
    peaks = ", ".join(f"{name} {value:.0f}" for name, value in result["ceilings_gflops"].items())
    return (
        f"{machine['cpu']}, {result['threads']} threads{gpu}, {machine['memory_gib']:.0f} GiB; "
        f"Python {machine['python']}; {versions}. Peaks: {peaks} GFLOP/s."
    )


def _tile_section(rows: list[Row]) -> str:
    speed = ("tile", "batch", "ms", "p95", "p99", "MP/s", "GFLOP/s", "of peak")
    heads = ("model", "backend", *speed, "start s", "peak MB", "PSNR", "least")
    lines = []
    for row in rows:
        seconds, share = row["seconds"], row.get("of_ceiling")
        cells = [
            row["model"],
            f"{row['way']}, {row['precision']}",
            str(row["side"]),
            str(row["batch"]),
            *(f"{seconds[name] * 1e3:.1f}" for name in ("median", "p95", "p99")),
            f"{row['mp_per_s']:.3f}",
            f"{row['gflops']:.0f}",
            f"{share:.0%}" if share else "",
            f"{row['startup_s']:.2f}" if "startup_s" in row else "",
            f"{row['peak_mb']}" if "peak_mb" in row else "",
            f"{row['psnr_mean']:.1f} dB",
            f"{row['psnr_min']:.1f} dB",
        ]
        lines.append(_line(cells, peer=not row["ours"]))
    return _table("Tiles", heads, lines)


def _photo_section(rows: list[Row]) -> str:
    heads = ("model", "backend", "MP in", "s", "MP/s", "of session", "peak MB")
    lines = [
        _line(
            [
                row["model"],
                f"{row['way']}, {row['precision']}",
                f"{row['input_mp']:.2f}",
                f"{row['seconds']['median']:.2f}",
                f"{row['mp_per_s']:.3f}",
                f"{row['of_session']:.2f}" if "of_session" in row else "",
                f"{row['peak_mb']}" if "peak_mb" in row else "",
            ],
            peer=not row["ours"],
        )
        for row in rows
    ]
    return _table("Photos", heads, lines)


def _table(title: str, heads: tuple[str, ...], lines: list[str]) -> str:
    if not lines:
        return ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "\n".join(lines)
    return f"<h2>{title}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _line(cells: list[str], *, peer: bool) -> str:
    mark = " class='peer'" if peer else ""
    return f"<tr{mark}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
