"""Photos with real damage that somebody marked by hand.

Nobody knows what lies under real damage, so only finding it is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import OptionError
from restora_benchmarks.evaluate.damage_figures import Detection, detection_of
from restora_calibration.folders import list_photos, read_pixels

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_SUFFIX = "_mask"
_UNSURE, _DAMAGED = 64, 192  # levels of a mask from which on a pixel is unsure, and damaged


@dataclass(frozen=True, slots=True)
class MarkedPhoto:
    """picture: uint8 RGB, (height, width, 3); damaged: marked pixels; unsure: they count nowhere"""

    name: str
    picture: Pixels
    damaged: Mask
    unsure: Mask


@dataclass(frozen=True, slots=True)
class MarkedFigures:
    """places, found_places: connected places of marked damage, and those of which at least half is
    in the mask that is repaired"""

    places: int
    found_places: int
    detection: Detection


def iter_marked(folder: Path) -> Iterator[MarkedPhoto]:
    """The photos of a folder with their masks, by name.

    Beside each photo NAME lies NAME_mask.png of its size: white where the photo is damaged, gray
    where nobody can tell, black elsewhere.

    Raises OptionError if there are no photos, or if one has no mask or one of another size.
    """
    photos = [path for path in list_photos(folder) if not path.stem.endswith(_SUFFIX)]
    if not photos:
        raise OptionError(f"there are only masks in {folder}, and no photos")
    for path in photos:
        marks = path.with_name(f"{path.stem}{_SUFFIX}.png")
        if not marks.is_file():
            raise OptionError(f"{path} needs a mask of its damage, {marks.name}; there is none")
        picture, levels = read_pixels(path), read_pixels(marks).max(2)
        if levels.shape != picture.shape[:2]:
            raise OptionError(
                f"{marks} must have the size of its photo, {picture.shape[1]} x "
                f"{picture.shape[0]}, it has {levels.shape[1]} x {levels.shape[0]}"
            )
        damaged = levels >= _DAMAGED
        yield MarkedPhoto(path.stem, picture, damaged, (levels >= _UNSURE) & ~damaged)


def figures_of(photo: MarkedPhoto, found: Mask, repaired: Mask) -> MarkedFigures:
    """found: the mask; repaired: the mask that is repaired, a little wider"""
    count, labels = cv2.connectedComponents(photo.damaged.astype(np.uint8), connectivity=8)
    sizes = np.bincount(labels.ravel(), minlength=count)[1:]
    covered = np.bincount(labels[repaired], minlength=count)[1:]
    detection = detection_of(found, photo.damaged | photo.unsure, asked=photo.damaged)
    return MarkedFigures(count - 1, int((2 * covered >= sizes).sum()), detection)
