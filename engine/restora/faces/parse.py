"""Masks of faces from the labels of a face parser."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.backends.base import Session
from restora.errors import OptionError
from restora.image.photo import Pixels

Mask = NDArray[np.float64]

# labels that are pasted: skin, brows, eyes, glasses, ears, nose, mouth, lips, hair (13), necklace
# (15); not background (0), neck (14, 16), cloth (17) or hat (18). As in the original code.
_PASTED = np.zeros(256, np.uint8)
_PASTED[[*range(1, 14), 15]] = 255
_PUBLISHED_SIDE = 512  # of the labels, for which the original code gives the numbers below
_BLUR_KERNEL, _BLUR_SIGMA, _BLURS = 101, 11, 2
_CLEARED_EDGE = 10


class FaceParser:
    """Labels restored faces, one by one, with an artifact of kind "parser"."""

    def __init__(self, session: Session) -> None:
        if session.info.kind != "parser":
            raise OptionError(f"{session.info.model} is a {session.info.kind}, not a parser")
        self.session = session

    def make_masks(self, faces: Sequence[Pixels]) -> list[Mask]:
        """Compute the soft masks of aligned faces: (side, side), 0..1."""
        parsed_side = self.session.info.side
        assert parsed_side is not None
        masks = []
        for face in faces:
            side = face.shape[0]
            seen = face if face.dtype == np.uint8 else face // 257
            sized = np.asarray(cv2.resize(seen, (parsed_side, parsed_side)), np.uint8)
            labels = self.session.run(sized[None])[0, ..., 0]
            mask = mask_from_labels(labels.astype(np.uint8))
            masks.append(np.asarray(cv2.resize(mask, (side, side)), np.float64))
        return masks

    def close(self) -> None:
        self.session.close()


def mask_from_labels(labels: NDArray[np.uint8]) -> Mask:
    """Convert labels to a soft mask, 0..1, that is blurred and zero at the edge of the crop.

    labels: (side, side), of any side: blur and edge are in proportion to it
    """
    mask: Mask = _PASTED[labels].astype(np.float64)
    share = labels.shape[0] / _PUBLISHED_SIDE
    kernel = 2 * round(_BLUR_KERNEL // 2 * share) + 1
    for _ in range(_BLURS):
        blurred = cv2.GaussianBlur(mask, (kernel, kernel), _BLUR_SIGMA * share)
        mask = np.asarray(blurred, np.float64)
    edge = max(1, round(_CLEARED_EDGE * share))
    mask[:edge] = mask[-edge:] = mask[:, :edge] = mask[:, -edge:] = 0
    return np.asarray(mask / 255, np.float64)
