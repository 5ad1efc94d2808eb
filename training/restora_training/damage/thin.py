"""Planes for the training of a detector: what it sees of thin parts, and how much damage weighs.

They are computed ahead: OpenCV does it many times faster than PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from restora_export.reference.damage_detector import THIN_GAIN, THIN_PX
from restora_training.damage.layer import Mask, Photo

_MEAN = np.full((1, 3), THIN_GAIN / 255 / 3, np.float32)  # of the colors
_AROUND_PX = 25
_THIN_SHARE = 0.2  # of the pixels around a pixel of a scratch, at most so many are damaged
_LEAST = 0.15


def stack_thin(pictures: Sequence[Photo]) -> NDArray[np.float32]:
    """(count, 2, height, width): damage_detector.thin_parts of uint8 pictures of one size."""
    square = np.ones((THIN_PX, THIN_PX), np.uint8)
    planes = []
    for picture in pictures:
        level = cv2.transform(picture.astype(np.float32), _MEAN)
        planes.append((
            cv2.morphologyEx(level, cv2.MORPH_TOPHAT, square),
            cv2.morphologyEx(level, cv2.MORPH_BLACKHAT, square),
        ))  # fmt: skip
    return np.asarray(planes, np.float32)


def stack_weights(masks: Sequence[Mask]) -> NDArray[np.float32]:
    """(count, 1, height, width): what the pixels of masks weigh: 1 in thin damage, less in wide
    damage. A stain would otherwise weigh as much as a hundred scratches."""
    planes = []
    for mask in masks:
        share = cv2.blur(mask.astype(np.float32), (_AROUND_PX, _AROUND_PX))
        planes.append(np.clip(_THIN_SHARE / np.maximum(share, 1e-3), _LEAST, 1))
    return np.asarray(planes, np.float32)[:, None]
