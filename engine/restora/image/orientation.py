"""Turn pixels upright, as an EXIF orientation asks."""

import numpy as np

from restora.image.photo import Pixels


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: pixels as stored -> pixels as seen, (h, w) or (h, w, c)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
