"""Make the sheet of samples of damage, the bundled sample print and its mask, and the picture of
its repair: `python -m restora_tools.damage_pictures sheet`, `print` or `repair`; `real` makes the
picture of a photo with real damage, which `make photos` collects.

The sample print is coffee (CC0, Rachel Michetti), which training never reads: faded, yellowed,
scratched, dusty, and folded once, with a fixed seed.
"""

import argparse
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restora import DamageOptions, RestoreOptions, Restorer
from restora.color import ColorMode
from restora_calibration.photos import HELD_OUT, TRAINING, read_free_photo
from restora_training.damage import DEFECTS, AgingRange, Damaged, age_photo
from restora_training.damage.aging import fade, yellow
from restora_training.damage.layer import apply_layer
from restora_training.damage.lookalikes import LOOKALIKES

Photo = NDArray[np.uint8]

SHEET = Path("docs/pictures/damage.webp")
PRINT = Path("engine/restora/data/print.jpg")
MASK = Path("engine/restora/data/print_mask.png")
REPAIR = Path("docs/pictures/print.jpg")
REAL, REAL_PHOTO = Path("docs/pictures/real-damage.jpg"), Path("build/photos/damaged/mill.png")
_REAL_PART = (slice(30, 340), slice(110, 720))  # rows and columns
_CELL, _COLUMNS, _GAP = 152, 7, 4
_DEFECTS = ("scratch", "scratches", "scratch", "hair", "dust", "fold")
_PRINT_SIDE = 440
_FADE_SEED, _DAMAGE_SEED = 4, 21


def make_sheet() -> Photo:
    """One cell for each kind of damage, of aging, and of clean pictures that look damaged."""
    photos = [read_free_photo(p) for p in (*TRAINING[:2], HELD_OUT[0])]
    cells = []
    for number, name in enumerate(DEFECTS):
        photo = _cell(photos[number % 3])
        damaged = Damaged(photo, np.zeros(photo.shape[:2], bool))
        seed = 0
        while not 0.005 < damaged.mask.mean() < 0.5:
            layer = DEFECTS[name](photo.shape[:2], np.random.default_rng([number, seed]))
            damaged = apply_layer(Damaged(photo, np.zeros(photo.shape[:2], bool)), layer)
            seed += 1
        cells.append((name.replace("_", " "), damaged.picture))
    kinds = list(AgingRange.__dataclass_fields__)
    for number, name in enumerate(kinds):
        ranges = AgingRange(**{kind: float(kind == name) for kind in kinds})
        aged = age_photo(_cell(photos[number % 3]), np.random.default_rng(number + 3), ranges)
        cells.append((name.replace("_", " "), aged))
    for number, (name, draw) in enumerate(LOOKALIKES.items()):
        if name in kinds:  # halftone, which the sheet has already
            continue
        picture = draw(_cell(photos[number % 3]), np.random.default_rng(number))
        cells.append((f"clean: {name}", picture))
    return _grid(cells)


def make_print() -> tuple[bytes, bytes]:
    """The sample print as JPEG, and the mask of its damage as PNG."""
    photo = read_free_photo(HELD_OUT[0])
    factor = _PRINT_SIDE / max(photo.shape)
    small = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(_FADE_SEED)
    values = np.asarray(small, np.float32) / np.float32(255)
    aged = yellow(fade(values, rng), rng)
    aged8 = np.rint(np.clip(aged, 0, 1) * 255).astype(np.uint8)
    damaged = Damaged(aged8, np.zeros(aged8.shape[:2], bool))
    rng = np.random.default_rng(_DAMAGE_SEED)
    for name in _DEFECTS:
        damaged = apply_layer(damaged, DEFECTS[name](aged8.shape[:2], rng))
    picture, mask = BytesIO(), BytesIO()
    Image.fromarray(damaged.picture).save(picture, "JPEG", quality=90)
    # JPEG smears damage over its neighbors
    wider = cv2.dilate(damaged.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    Image.fromarray(wider).save(mask, "PNG", optimize=True)
    return picture.getvalue(), mask.getvalue()


def make_repair(detector: str | None, repairer: str | None) -> Photo:
    """The sample print before, with its damage repaired, and with its color corrected too."""
    before = np.asarray(Image.open(PRINT).convert("RGB"))
    damage = DamageOptions(detector=detector, repairer=repairer)
    steps = [before, *(_restore(before, damage, color) for color in ("off", "unfade"))]
    line = np.full((len(before), _GAP, 3), 255, np.uint8)
    return np.concatenate([steps[0], line, steps[1], line, steps[2]], 1)


def make_real(detector: str | None, repairer: str | None) -> Photo:
    """A part of a photo with real damage, before and repaired, one below the other."""
    before = np.asarray(Image.open(REAL_PHOTO).convert("RGB"))
    after = _restore(before, DamageOptions(detector=detector, repairer=repairer), "off")
    line = np.full((_GAP, before[_REAL_PART].shape[1], 3), 255, np.uint8)
    return np.concatenate([before[_REAL_PART], line, after[_REAL_PART]], 0)


def _restore(photo: Photo, damage: DamageOptions, color: ColorMode) -> Photo:
    options = RestoreOptions(backend="cpu", color=color)
    with Restorer(None, damage=damage, options=options) as restorer:
        return np.asarray(restorer.restore(photo, outscale=1).photo.pixels, np.uint8)


def _cell(photo: Photo) -> Photo:
    """A square from the middle, shrunk."""
    side = min(photo.shape[:2]) * 3 // 4
    top, left = ((length - side) // 2 for length in photo.shape[:2])
    square = photo[top : top + side, left : left + side]
    small = cv2.resize(square, (_CELL, _CELL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _grid(cells: list[tuple[str, Photo]]) -> Photo:
    label = 16
    rows = -(-len(cells) // _COLUMNS)
    sheet = np.full((rows * (_CELL + label + _GAP), _COLUMNS * (_CELL + _GAP), 3), 255, np.uint8)
    for number, (name, picture) in enumerate(cells):
        top = number // _COLUMNS * (_CELL + label + _GAP)
        left = number % _COLUMNS * (_CELL + _GAP)
        sheet[top + label : top + label + _CELL, left : left + _CELL] = picture
        at = (left + 2, top + label - 4)
        cv2.putText(sheet, name, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet


def _save(picture: Photo, path: Path, quality: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=quality, optimize=True, method=6)
    print(f"{path}: {path.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("sheet", "print", "repair", "real"))
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--damage-detector")
    parser.add_argument("--damage-repairer")
    arguments = parser.parse_args()
    if arguments.what == "sheet":
        _save(make_sheet(), arguments.output or SHEET, 45)
    elif arguments.what == "print":
        for path, data in zip((PRINT, MASK), make_print(), strict=True):
            path.write_bytes(data)
    else:
        make, path = (make_repair, REPAIR) if arguments.what == "repair" else (make_real, REAL)
        picture = make(arguments.damage_detector, arguments.damage_repairer)
        _save(picture, arguments.output or path, 60)


if __name__ == "__main__":
    main()
