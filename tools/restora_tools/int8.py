"""What 8 bits cost and gain: `python -m restora_tools.int8`.

The bundled INT8 artifact: accuracy against FP32 and against clean held-out photos, speed on each
runtime. The x4plus shape and a face network's encoder with recipe weights: speed; accuracy on
random weights says nothing. Ten minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from restora import Restorer
from restora.artifact import Artifact, read_artifact
from restora.backends.options import PrecisionChoice
from restora.models import DEFAULT_MODEL, find_artifact
from restora.options import RestoreOptions
from restora_benchmarks.bench.models import find_model
from restora_calibration.calibration_set import (
    CalibrationSet,
    SetPlan,
    bundled_sources,
    make_calibration_set,
    photo_tile_set,
)
from restora_calibration.int8.speed import measure_artifacts
from restora_calibration.photos import HELD_OUT, read_free_photo
from restora_tools.lite.accuracy import Photo, evaluate
from restora_tools.results import write_results
from restora_tools.whole_int8 import quantize_whole

RESULTS = Path("benchmarks/results/int8.json")
SHAPE, FACE = "RealESRGAN_x4plus", "GFPGANv1.4"
Row = dict[str, Any]


def measure_lite(repeats: int) -> Row:
    """The artifact that ships."""
    path = find_artifact(DEFAULT_MODEL, "uint8")
    exact, quantized = read_artifact(path), read_artifact(path.with_suffix(".int8.onnx"))
    row = _row(exact, quantized, repeats)
    row["size_mb"] = {
        "fp32": round(path.stat().st_size / 1e6, 2),
        "int8": round(path.with_suffix(".int8.onnx").stat().st_size / 1e6, 2),
    }
    figures = {precision: _held_out(path, precision) for precision in ("fp32", "int8")}
    lost = {kind: figures["fp32"][kind] - figures["int8"][kind] for kind in figures["fp32"]}
    row["held_out_psnr"] = {
        kind: {"fp32": round(figures["fp32"][kind], 2), "lost": round(value, 3)}
        for kind, value in lost.items()
    }
    return row


def measure_whole(name: str, tiles: CalibrationSet, folder: Path, repeats: int) -> Row:
    """A network with recipe weights, all layers that may be in 8 bits."""
    exact = find_model(name, folder, lambda _words: None, synthetic=True).artifact
    return {**_row(exact, quantize_whole(exact, tiles), repeats), "recipe_weights": True}


def face_set() -> CalibrationSet:
    """Photos that are at least as large as a face network's input, as they are."""
    plan = SetPlan(tile=512, calibrating=3, searching=1, judging=1)
    return make_calibration_set(bundled_sources(), plan, report=lambda _words: None)


def _row(exact: Artifact, quantized: Artifact, repeats: int) -> Row:
    found = quantized.info.quantization
    figures = quantized.info.accuracy
    assert found is not None
    assert figures is not None
    times = measure_artifacts({"fp32": exact, "int8": quantized}, repeats=repeats)
    base = times["fp32", "ONNX Runtime"].median
    return {
        "model": exact.info.model,
        "layers": found.layers,
        "kept": list(found.kept),
        "psnr_mean": figures.psnr_mean,
        "psnr_min": figures.psnr_min,
        "ssim_mean": figures.ssim_mean,
        "tiles": figures.tiles,
        "speed": [
            {
                "precision": name,
                "runtime": runtime,
                "ms": round(value.median * 1e3, 2),
                "spread": round(value.spread, 2),
                "times": round(base / value.median, 2),
            }
            for (name, runtime), value in times.items()
        ],
    }


def _held_out(path: Path, precision: PrecisionChoice) -> dict[str, float]:
    """Mean PSNR against the held-out photos of installed packages, by kind of input."""
    photos = {photo.name: read_free_photo(photo) for photo in HELD_OUT}
    options = RestoreOptions(backend="openvino", precision=precision)
    with Restorer(path, options=options) as restorer:

        def restore(photo: Photo) -> Photo:
            return np.asarray(restorer.restore(photo).photo.pixels, np.uint8)

        rows = evaluate(restore, photos)
    return {row.input: row.restored_psnr for row in rows if row.photo == "mean"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    console = Console()
    rows = [measure_lite(arguments.repeats)]
    for name, tiles in ((SHAPE, photo_tile_set()), (FACE, face_set())):
        repeats = max(1, arguments.repeats // 3)
        rows.append(measure_whole(name, tiles, arguments.folder, repeats))
    for row in rows:
        console.print(row)
    write_results(arguments.json, rows=rows)
    console.print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
