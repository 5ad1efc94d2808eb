"""Decode the output of RetinaFace: anchors, offsets, non-maximum suppression.

Deng et al., arXiv:1905.00641, with the anchor sizes, variances and thresholds of the published
detector.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.backends.base import Session
from restora.errors import OptionError
from restora.faces.face import DETECTOR_LONG_SIDE, Face, cap_long_side, faces_from_rows

SCORE_THRESHOLD = 0.97
IOU_THRESHOLD = 0.4
_STEPS_AND_SIZES = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
_CENTER_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2


class RetinaFaceDetector:
    """Detects faces with an artifact of kind "detector".

    score_threshold: faces with this score or less are ignored
    long_side: photos with a longer side are downsampled to it; None disables this, as in the
        original code
    """

    name = "RetinaFace"

    def __init__(
        self,
        session: Session,
        *,
        score_threshold: float = SCORE_THRESHOLD,
        long_side: int | None = DETECTOR_LONG_SIDE,
    ) -> None:
        if session.info.kind != "detector":
            raise OptionError(f"{session.info.model} is a {session.info.kind}, not a detector")
        self.session = session
        self.score_threshold = score_threshold
        self.long_side = long_side

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        small, scale_x, scale_y = cap_long_side(pixels, self.long_side)
        rows = np.asarray(self.session.run(np.ascontiguousarray(small)[None])[0], np.float32)
        height, width = small.shape[:2]
        found = decode_rows(rows, height=height, width=width, score_threshold=self.score_threshold)
        return faces_from_rows(found, scale_x, scale_y)

    def close(self) -> None:
        self.session.close()


@lru_cache(maxsize=8)
def make_priors(height: int, width: int) -> NDArray[np.float32]:
    """Anchors for an image of this size: (anchors, 4), center x, y, width, height in 0..1."""
    levels = []
    for step, sizes in _STEPS_AND_SIZES:
        rows, columns = -(-height // step), -(-width // step)
        y, x = np.mgrid[:rows, :columns].astype(np.float64) + 0.5
        for_sizes = [
            np.stack(
                (
                    x * step / width,
                    y * step / height,
                    np.full_like(x, size / width),
                    np.full_like(x, size / height),
                ),
                -1,
            )
            for size in sizes
        ]
        levels.append(np.stack(for_sizes, 2).reshape(-1, 4))
    priors = np.concatenate(levels).astype(np.float32)
    priors.flags.writeable = False
    return priors


def decode_rows(
    rows: NDArray[np.float32], *, height: int, width: int, score_threshold: float
) -> NDArray[np.float32]:
    """Decode the output of the network.

    rows: (anchors, 16), which are 4 box offsets, 2 probabilities and 10 landmark offsets

    Returns (faces, 15) in pixels: box corners, score, five landmarks; best score first.
    """
    priors = make_priors(height, width)
    likely = rows[:, 5] > score_threshold
    rows, priors = rows[likely], priors[likely]
    order = np.argsort(-rows[:, 5], kind="stable")
    rows, priors = rows[order], priors[order]
    center, size = priors[:, :2], priors[:, 2:]
    box_center = center + _CENTER_VARIANCE * rows[:, :2] * size
    box_size = size * np.exp(_SIZE_VARIANCE * rows[:, 2:4])
    corners = np.concatenate((box_center - box_size / 2, box_center + box_size / 2), 1)
    points = center[:, None] + _CENTER_VARIANCE * rows[:, 6:].reshape(-1, 5, 2) * size[:, None]
    whole = np.array([width, height], np.float32)
    corners = corners * np.tile(whole, 2)
    points = (points * whole).reshape(-1, 10)
    found = np.concatenate((corners, rows[:, 5:6], points), 1).astype(np.float32)
    return found[_suppress(found)]


def _suppress(found: NDArray[np.float32]) -> list[int]:
    """Non-maximum suppression. Returns the indices of the remaining boxes."""
    if not len(found):
        return []
    boxes = found[:, :4].astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), found[:, 4].tolist(), 0.0, IOU_THRESHOLD)
    return [int(index) for index in np.asarray(kept).ravel()]
