"""Seam error against overlap: the figures and the plot behind the default overlap.

`python -m restora_tools.seams` writes benchmarks/results/seams.json and
docs/pictures/seams.png. `python -m restora_tools.seams --long MODEL.onnx` measures the overlap of
large networks on a longer photo, as the exporter does, into benchmarks/results/seams-large.json;
minutes for each network.
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

from restora.artifact import read_artifact
from restora.backends import SessionOptions, open_session
from restora.models import find_artifact
from restora.tiling import Blend
from restora_export.seams import (
    SEAM_TARGET_DB,
    load_long_photo,
    make_seam_photo,
    measure_seams,
    restore_whole,
)

OVERLAPS = (0, 4, 8, 12, 16, 20, 24, 32, 40, 48)
RESULTS_LARGE = Path("benchmarks/results/seams-large.json")
LARGE_OVERLAPS = (16, 32, 48, 64, 80, 96, 112, 128, 160, 192)
LARGE_ENOUGH_DB = 60.0
BLENDS: tuple[Blend, ...] = ("crop", "linear", "cosine")


def measure(artifact: Path) -> list[dict[str, object]]:
    """One row per blend and overlap, for the float32 artifact at `artifact`."""
    loaded = read_artifact(artifact)
    session = open_session(loaded, options=SessionOptions(backend="cpu"))
    photo = make_seam_photo()
    rows: list[dict[str, object]] = []
    for blend in BLENDS:
        for overlap in OVERLAPS:
            error = measure_seams(session, photo, overlap_px=overlap, blend=blend)
            rows.append(
                {
                    "model": loaded.info.model,
                    "blend": blend,
                    "overlap_px": overlap,
                    "seam_psnr_db": round(error.psnr, 2),
                    "max_error_levels": round(error.max_error * 255, 3),
                }
            )
    session.close()
    return rows


def measure_long(artifact: Path) -> list[dict[str, object]]:
    """One row per overlap of the exporter, until the PSNR passes 60 dB."""
    loaded = read_artifact(artifact)
    session = open_session(loaded, options=SessionOptions(backend="cpu"))
    photo = load_long_photo()
    whole = restore_whole(session, photo)
    rows: list[dict[str, object]] = []
    for overlap in LARGE_OVERLAPS:
        tile = (len(photo) + overlap) // 2
        error = measure_seams(session, photo, overlap_px=overlap, tile=tile, whole=whole)
        rows.append(
            {
                "model": loaded.info.model,
                "overlap_px": overlap,
                "seam_psnr_db": round(error.psnr, 2),
                "max_error_levels": round(error.max_error * 255, 3),
            }
        )
        if error.psnr > LARGE_ENOUGH_DB:
            break
    session.close()
    return rows


def plot(rows: list[dict[str, object]], path: Path) -> None:
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    figure, axes = plt.subplots(
        1, len(models), figsize=(5.2 * len(models), 3.8), squeeze=False, sharey=True
    )
    for axis, model in zip(axes[0], models, strict=True):
        for blend in BLENDS:
            line = [row for row in rows if row["model"] == model and row["blend"] == blend]
            axis.plot(
                [row["overlap_px"] for row in line],
                [row["seam_psnr_db"] for row in line],
                marker="o",
                markersize=3,
                label=blend,
            )
        axis.axhline(SEAM_TARGET_DB, color="gray", linewidth=0.8, linestyle=":")
        axis.text(47, SEAM_TARGET_DB + 1, "chosen for", ha="right", color="gray", fontsize=8)
        axis.set_title(model, fontsize=10)
        axis.set_xlabel("overlap of tiles, input pixels")
        axis.legend(frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("tiled against whole near seams, dB")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    with Image.open(path) as picture:  # half the size in a palette
        picture.convert("RGB").quantize(64).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifacts", nargs="*", type=Path, help="float32 artifacts")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/seams.json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/pictures/seams.png"))
    parser.add_argument("--long", nargs="+", type=Path, help="artifacts of large networks")
    arguments = parser.parse_args()
    if arguments.long:
        rows = [row for artifact in arguments.long for row in measure_long(artifact)]
        RESULTS_LARGE.write_text(json.dumps(rows, indent=1) + "\n")
        print(f"wrote {RESULTS_LARGE}")
        return
    artifacts = arguments.artifacts or [find_artifact("restora-lite-x2", "float32")]
    rows = [row for artifact in artifacts for row in measure(artifact)]
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    plot(rows, arguments.plot)
    print(f"wrote {arguments.json} and {arguments.plot}")


if __name__ == "__main__":
    main()
