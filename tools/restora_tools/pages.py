"""Generate the picture and the tables of README and docs: `python -m restora_tools.pages`.

It replaces everything between `<!-- NAME -->` and `<!-- end -->`.
"""

import argparse
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from restora import Restorer, write_photo
from restora.image import decode_photo
from restora.image.compare import make_comparison
from restora.options import RestoreOptions
from restora_tools.cpu_experiments.table import experiments_table
from restora_tools.damage_report import damage_tables
from restora_tools.gpu.tables import gpu_table
from restora_tools.int8_tables import published_table
from restora_tools.page_tables import (
    choices_table,
    fast_table,
    heads_of,
    int8_table,
    row_of,
    seams_table,
)
from restora_tools.service.tables import facts_list, load_table
from restora_tools.speed_tables import speed_summary, speed_table, whole_photo_table
from restora_tools.throughput.tables import (
    endurance_table,
    hostile_table,
    isolation_table,
    photos_table,
    scale_table,
    video_table,
)
from restora_tools.tile_area import tile_area_table
from restora_tools.training_table import training_table
from restora_tools.triton.tables import triton_analyzer_table, triton_photos_table

PAGES = (
    Path("README.md"),
    Path("docs/artifacts.md"),
    Path("docs/bundled-models.md"),
    Path("docs/damage.md"),
    Path("docs/faces.md"),
    Path("docs/gpu.md"),
    Path("docs/benchmarks.md"),
    Path("docs/int8.md"),
    Path("docs/service.md"),
    Path("docs/throughput.md"),
    Path("docs/tiling.md"),
    Path("docs/training.md"),
    Path("docs/triton.md"),
    Path("docs/untrusted-files.md"),
)
BENCHES = ("lite", "fast", "small", "x4plus", "photo")
PICTURE = Path("docs/pictures/before_after.jpg")
SHOWN_MODEL, SHOWN_SCALE = "restora-fast-x4", 2.0
RESULTS = Path("benchmarks/results")


def fill_page(text: str, results: Path = RESULTS) -> str:
    """Replace the generated parts of a page by tables made from the JSON files in `results`."""
    lite = json.loads((results / "lite.json").read_text())
    benches = [_read(results / f"bench-{part}.json") for part in BENCHES]
    throughput = _read(results / "throughput.json")
    parts = {
        "speed": speed_summary(benches, throughput),
        "bench": speed_table(benches),
        "whole-photos": whole_photo_table(benches),
        "cpu-experiments": experiments_table(_read(results / "cpu-experiments.json")),
        "accuracy": accuracy_table([row for row in lite if row["photo"] == "mean"]),
        "lite": accuracy_table(lite, photos=True),
        "fast": fast_table(_read(results / "fast.json")),
        "exports": exports_table(json.loads((results / "exports.json").read_text())),
        "faces": faces_table(json.loads((results / "faces.json").read_text())),
        "gpu": gpu_table(results / "gpu.json"),
        "int8": int8_table(_read(results / "int8.json")),
        "int8-published": published_table(_read(results / "int8-published.json")),
        "choices": choices_table(_read(results / "choices.json")),
        "photos": photos_table(throughput),
        "video": video_table(throughput),
        "scale": scale_table(throughput),
        "service-load": load_table(_read(results / "service.json")),
        "triton-photos": triton_photos_table(_read(results / "triton-load.json")),
        "triton-analyzer": triton_analyzer_table(_read(results / "triton-load.json")),
        "service-facts": facts_list(_read(results / "service.json")),
        "seams": seams_table(json.loads((results / "seams-large.json").read_text())),
        "training": training_table(_read(results / "training.json")),
        "tile-area": tile_area_table(_read(results / "tile-area.json")),
        "endurance": endurance_table(_read(results / "endurance.json")),
        "isolation": isolation_table(_read(results / "isolation.json")),
        "hostile": hostile_table(_read(results / "endurance-hostile.json")),
        **damage_tables(_read(results / "damage.json")),
    }

    def fill(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{parts[match[1]]}\n<!-- end -->"

    return re.sub(
        rf"<!-- ({'|'.join(parts)}) -->\n.*?<!-- end -->",
        fill,
        text,
        flags=re.DOTALL,
    )


def _read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def accuracy_table(rows: list[dict[str, Any]], *, photos: bool = False) -> str:
    """Compare bicubic upscaling with the restored photo; `photos` adds a column with its name."""
    heads = ["input", *(["photo"] if photos else [])]
    heads += [f"{measure} {way}" for measure in ("PSNR", "SSIM") for way in ("bicubic", "restora")]
    lines = heads_of(heads)
    for row in rows:
        cells = [row["input"], *([row["photo"]] if photos else [])]
        cells += [f"{row['bicubic_psnr']:.2f} dB", f"**{row['restored_psnr']:.2f} dB**"]
        cells += [f"{row['bicubic_ssim']:.4f}", f"**{row['restored_ssim']:.4f}**"]
        lines.append(row_of(cells))
    return "\n".join(lines)


def exports_table(result: dict[str, Any]) -> str:
    """Accuracy that the exporter measured, one row per artifact."""
    heads = ["artifact", "precision", "MB", "max error", "mean PSNR", "min PSNR"]
    lines = heads_of(heads)
    for row in result["rows"]:
        figures = [f"{row['psnr_mean']:.1f} dB", f"{row['psnr_min']:.1f} dB"]
        levels = f"{row['max_error'] * 255:.0f}/255"
        size = f"{row['size_mb']:.1f}"
        lines.append(row_of([row["model"], row["precision"], size, levels, *figures]))
    return "\n".join(lines)


def faces_table(result: dict[str, Any]) -> str:
    """Time per face of each backend, and of the whole command below."""
    heads = ["backend", "batch", "ms per face", "GFLOP/s", "speedup", "PSNR vs. PyTorch FP32"]
    lines = heads_of(heads)
    for line in result["lines"]:
        speed = [f"{line['ms_per_face']:.0f}", f"{line['gflops']:.0f}"]
        shares = [f"{line['against_eager']:.2f}", f"{line['psnr']:.1f} dB"]
        name = "**restora**" if line["way"] == "session" else line["way"]
        lines.append(row_of([name, str(line["batch"]), *speed, *shares]))
    joint = result["joint"]
    whole = (
        f"The network is {result['lines'][0]['model']}. `restora restore` with restora-lite-x2 and "
        f"this network takes {joint['command_s']:.1f} s for a photo of {joint['photo_mp']:.1f} MP "
        f"with {joint['faces']} faces; face detection takes {joint['share_of_detection']:.1%} of "
        f"that. Peak memory is {joint['peak_memory_gb']:.1f} GB."
    )
    return "\n".join([*lines, "", whole, "", _machine_sentence(result)])


def _machine_sentence(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"{machine['cpu']}, {result['threads']} threads, {machine['memory_gib']:.0f} GiB; "
        f"ONNX Runtime {machine['onnxruntime']}, PyTorch {machine['torch']}; medians of "
        f"{result['repeats']} interleaved runs."
    )


def make_picture(path: Path) -> None:
    """Restore the bundled sample photo and write the before | after picture, at half its size."""
    before = decode_photo((files("restora") / "data" / "sample.jpg").read_bytes())
    with Restorer(SHOWN_MODEL, options=RestoreOptions(backend="cpu")) as restorer:
        after = restorer.restore(before, outscale=SHOWN_SCALE).photo
    path.parent.mkdir(parents=True, exist_ok=True)
    write_photo(make_comparison(before, after), path, quality=82)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    make_picture(PICTURE)
    for page in PAGES:
        page.write_text(fill_page(page.read_text()))
    print(f"wrote {PICTURE} and {', '.join(map(str, PAGES))}")


if __name__ == "__main__":
    main()
