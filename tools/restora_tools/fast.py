"""Compare restora-fast-x4 with its teacher on photos that no training saw:
`python -m restora_tools.fast build/photos/held-out`, which writes the figures and a picture.

Patches of the photos, which `restora_tools.training_photos` collects, are degraded with
Real-ESRGAN's second-order model. The teacher must be on this machine: `restora models fetch
RealESRGAN_x4plus`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restora import Restorer
from restora_benchmarks.machine import describe_machine
from restora_calibration.folders import list_photos, read_pixels
from restora_tools.page_tables import fast_table
from restora_training.answers import make_pair
from restora_training.comparison import Row, compare_on
from restora_training.data.pairs import Pair
from restora_training.data.photos import PhotoSet
from restora_training.data.samples import PatchMaker
from restora_training.recipe_parts import DegradationPart

TEACHER = "RealESRGAN_x4plus"
STUDENT = "restora-fast-x4"
RESULT = Path("benchmarks/results/fast.json")
SIDE = 80  # of the degraded patches, in pixels
PATCHES = 6  # of each photo
SEED = 11
PICTURE = Path("docs/pictures/fast.jpg")
_SHOWN = (20, 38, 50)  # pairs in the picture
_HEADS = ("degraded", "bicubic", STUDENT, TEACHER)
_GAP, _HEADER = 6, 40

Photo = NDArray[np.uint8]


def iter_pairs(teacher: Restorer, paths: Sequence[Path]) -> Iterator[Pair]:
    """Degraded patches of the photos, the teacher's answers, and the clean patches."""
    for path in paths:
        pixels = read_pixels(path)
        photos = PhotoSet([path.stem], lambda _, pixels=pixels: pixels)  # type: ignore[misc]
        maker = PatchMaker(
            photos,
            DegradationPart(kind="second_order"),
            scale=teacher.scale,
            patch=SIDE * teacher.scale,
            seed=SEED,
        )
        for number in range(PATCHES):
            yield make_pair(teacher, maker, number)


def measure(student: str | Path, pairs: list[Pair], names: Sequence[str]) -> dict[str, Any]:
    """The result as it is committed.

    names: of the photos
    """
    rows: tuple[Row, ...] = compare_on(TEACHER, student, pairs)
    return {
        "machine": describe_machine(),
        "side": SIDE,
        "pairs": len(pairs),
        "photos": list(names),
        "rows": [asdict(row) for row in rows],
    }


def make_picture(student: str | Path, pairs: list[Pair]) -> Photo:
    """Rows of a degraded patch, bicubic enlargement, and the answers of student and teacher."""
    rows = []
    with Restorer(student) as small:
        for index in _SHOWN:
            pair = pairs[index]
            answer = np.asarray(small.restore(pair.degraded).photo.pixels, np.uint8)
            side = pair.answer.shape[:2]
            enlarged = [
                np.asarray(cv2.resize(pair.degraded, side, interpolation=how), np.uint8)
                for how in (cv2.INTER_NEAREST, cv2.INTER_CUBIC)
            ]
            rows.append(_join([*enlarged, answer, pair.answer], axis=1))
    picture = _join(rows, axis=0)
    header = np.full((_HEADER, picture.shape[1], 3), 255, np.uint8)
    step = picture.shape[1] / len(_HEADS)
    for column, words in enumerate(_HEADS):
        place = (round(column * step) + _GAP, _HEADER - 12)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(header, words, place, font, 0.8, (40, 40, 40), 2, cv2.LINE_AA)
    return np.concatenate((header, picture), 0)


def _join(pictures: list[Photo], *, axis: int) -> Photo:
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    spaced = [part for picture in pictures for part in (picture, gap)][:-1]
    return np.concatenate(spaced, axis)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of photos that no training saw")
    parser.add_argument("--student", default=STUDENT, help="name or .onnx file")
    parser.add_argument("--json", type=Path, default=RESULT, help="where to write the figures")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where to write the picture")
    arguments = parser.parse_args()
    paths = list_photos(arguments.photos)
    with Restorer(TEACHER) as teacher:
        pairs = list(iter_pairs(teacher, paths))
    result = measure(arguments.student, pairs, [path.stem for path in paths])
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(fast_table(result))
    picture = Image.fromarray(make_picture(arguments.student, pairs))
    picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS).save(
        arguments.picture, "JPEG", quality=80, optimize=True
    )


if __name__ == "__main__":
    main()
