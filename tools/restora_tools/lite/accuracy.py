"""Accuracy of a x2 artifact on held-out photos: `python -m restora_tools.lite.accuracy`.

Three questions, each beside bicubic enlargement: what is left of the mild blind degradation, what
of a strong one, and is plain bicubic x2 shrinking undone at least as well?
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restora import Restorer
from restora.options import RestoreOptions
from restora_calibration.degrade import (
    CLEAN_X2,
    MILD,
    Degradation,
    degrade_photo,
    draw_degradation,
)
from restora_calibration.folders import list_photos, read_pixels
from restora_calibration.photos import HELD_OUT, read_free_photo

Photo = NDArray[np.uint8]
DRAWS = 5  # degradations per photo
STRONG = Degradation(sigma=2, shrink=2, noise=10, quality=60)
KINDS = ("mild degradation", "blur 2, noise 10, JPEG 60", "clean x2")
_BORDER = 4  # output pixels at the edge that do not count


@dataclass(frozen=True, slots=True)
class Row:
    """Means over draws. PSNR in dB over RGB, SSIM over RGB; higher is better."""

    photo: str
    input: str
    bicubic_psnr: float
    restored_psnr: float
    bicubic_ssim: float
    restored_ssim: float


def evaluate(
    restore: Callable[[Photo], Photo], photos: Mapping[str, Photo], *, seed: int = 7
) -> list[Row]:
    """Rows for each photo and each kind of input, and their means.

    restore: uint8 RGB (h, w, 3) -> (2h, 2w, 3)
    photos: uint8 RGB with even sides, by name
    """
    rng, strong_rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    rows = []
    for name, clean in photos.items():
        mild = [degrade_photo(clean, draw_degradation(MILD, rng), rng) for _ in range(DRAWS)]
        strong = [degrade_photo(clean, STRONG, strong_rng) for _ in range(DRAWS)]
        shrunk = [degrade_photo(clean, CLEAN_X2, rng)]
        for kind, inputs in zip(KINDS, (mild, strong, shrunk), strict=True):
            figures = [
                _compare(clean, enlarge_bicubic(small)) + _compare(clean, restore(small))
                for small in inputs
            ]
            a, b, c, d = (float(value) for value in np.mean(figures, axis=0))
            rows.append(Row(name, kind, a, c, b, d))
    for kind in KINDS:
        of_kind = [row for row in rows if row.input == kind]
        means = [
            float(np.mean([getattr(row, figure) for row in of_kind]))
            for figure in ("bicubic_psnr", "restored_psnr", "bicubic_ssim", "restored_ssim")
        ]
        rows.append(Row("mean", kind, *means))
    return rows


def enlarge_bicubic(photo: Photo) -> Photo:
    size = (2 * photo.shape[1], 2 * photo.shape[0])
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


def format_table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [
        "| photo | input | PSNR bicubic | PSNR restored | SSIM bicubic | SSIM restored |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.photo} | {row.input} | {row.bicubic_psnr:.2f} | {row.restored_psnr:.2f} | "
        f"{row.bicubic_ssim:.4f} | {row.restored_ssim:.4f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _compare(clean: Photo, made: Photo) -> tuple[float, float]:
    inner = (slice(_BORDER, -_BORDER), slice(_BORDER, -_BORDER))
    a, b = clean[inner], made[inner]
    return (
        float(peak_signal_noise_ratio(a, b, data_range=255)),
        float(structural_similarity(a, b, data_range=255, channel_axis=2)),
    )


def _read_photos(folder: Path | None) -> dict[str, Photo]:
    if folder is None:
        return {photo.name: read_free_photo(photo) for photo in HELD_OUT}
    return {path.stem: read_pixels(path) for path in list_photos(folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder; default: held-out free photos")
    parser.add_argument("--model", default="restora-lite-x2", help="name or .onnx file")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    restorer = Restorer(arguments.model, options=RestoreOptions(backend="cpu"))

    def restore(photo: Photo) -> Photo:
        return np.asarray(restorer.restore(photo).photo.pixels, np.uint8)

    rows = evaluate(restore, _read_photos(arguments.photos))
    sys.stdout.write(format_table(rows) + "\n")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
