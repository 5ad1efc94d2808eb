"""Look at a photo at two sizes, and join what is found.

At a reduced size a network sees more of what is around a line, and the grain of a large photo does
not distract it: a false detection rarely appears at both sizes. Chen et al. (arXiv:1606.00915,
section 3.2) join sizes by the larger score; the mean of the scores finds as much here, and less
that is no damage. A speck is gone at the reduced size, which therefore has no say in it; and what
is wide is more than the network sees around a pixel at the photo's own size.
"""

from __future__ import annotations

import cv2
import numpy as np

from restora.damage.mask import Mask, Plane
from restora.image import Photo

_REDUCTION = 2.5
_SMALLEST_PX = 384  # long side of a reduced photo, of which lines of one pixel are left
_LEAST_REDUCTION = 1.5  # what is hardly smaller tells nothing new
_SPECK_PX = 8  # the longer side of the largest speck
_SPECK_SEEN = 96  # the probability, 0..255, of its pixels
_WIDE_PX = 9  # across, at the reduced size
_WIDE_SEEN = 128  # the probability, 0..255, of its pixels
_ROWS = 256  # of an image at a time: indices take eight times its memory


def reduce_photo(photo: Photo) -> Photo | None:
    """The photo at the reduced size, without transparency; None for a small photo."""
    longest = max(photo.height, photo.width)
    reduction = min(_REDUCTION, longest / _SMALLEST_PX)
    if reduction < _LEAST_REDUCTION:
        return None
    size = tuple(max(1, round(side / reduction)) for side in (photo.width, photo.height))
    smaller = cv2.resize(photo.pixels, size, interpolation=cv2.INTER_AREA)
    return Photo(np.asarray(smaller, photo.pixels.dtype))


def join_sizes(near: Plane, far: Plane) -> Plane:
    """The mean of the log odds of both probabilities; in specks that of `near` alone, and in what
    is wide that of `far`, if it is larger.

    near, far: 0..255, (height, width); `far` of the photo at a reduced size

    Returns probabilities, 0..255, in the shape of `near`.
    """
    height, width = near.shape
    scores = cv2.resize(_SCORES[far], (width, height), interpolation=cv2.INTER_LINEAR)
    joined = np.empty_like(near)
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        joined[rows] = _JOINED[near[rows], scores[rows]]
    np.maximum(joined, near, out=joined, where=_find_specks(near))
    wide = cv2.resize(_keep_wide(far), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.maximum(joined, wide, out=joined)


def _find_specks(near: Plane) -> Mask:
    """The small places that are probably damaged."""
    seen = (near >= _SPECK_SEEN).astype(np.uint8)
    _, labels, places, _ = cv2.connectedComponentsWithStats(seen, connectivity=8)
    sides = places[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    small = sides.max(1) <= _SPECK_PX
    small[0] = False  # what is not seen
    return np.asarray(small[labels], np.bool_)


def _keep_wide(far: Plane) -> Plane:
    """The probabilities in wide places that are probably damaged, and 0 elsewhere."""
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_WIDE_PX, _WIDE_PX))
    seen = (far >= _WIDE_SEEN).astype(np.uint8)
    return far * np.asarray(cv2.morphologyEx(seen, cv2.MORPH_OPEN, disk), np.uint8)


def _log_odds(levels: np.ndarray) -> np.ndarray:
    return np.asarray(np.log((levels + 0.5) / (255.5 - levels)))


_LEVELS = np.arange(256, dtype=np.float64)
_LARGEST = float(_log_odds(_LEVELS[255:])[0])
# the log odds of each probability in 256 steps, to be enlarged as an image
_SCORES = np.rint((_log_odds(_LEVELS) / _LARGEST + 1) * 127.5).astype(np.uint8)
_MEANS = (_log_odds(_LEVELS)[:, None] + (_LEVELS / 127.5 - 1)[None] * _LARGEST) / 2
_JOINED = np.rint(255 / (1 + np.exp(-_MEANS))).astype(np.uint8)
