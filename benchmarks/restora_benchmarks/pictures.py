"""Pictures to run networks on."""

import numpy as np
from numpy.typing import NDArray


def make_pictures(shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Smooth pictures with noise, neither constants nor pure noise; the same for every call.

    shape  (pictures, height, width, 3)
    """
    count, height, width, _ = shape
    rng = np.random.default_rng(20190219)
    rows, cols = np.mgrid[:height, :width]
    waves = np.stack(
        [np.sin(rows / (7 + c) + c) * np.cos(cols / (11 + 2 * c)) for c in range(3)], 2
    )
    noise = rng.normal(0, 6, (count, height, width, 3))
    return np.clip(128 + 90 * waves[None] + noise, 0, 255).astype(np.uint8)
