"""More variety from few photos: smaller versions of them, and random colors."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Photo = NDArray[np.uint8]


def shrink_photo(photo: Photo, factor: float) -> Photo:
    """The photo at `factor` of its size, 0..1; shrinking also removes noise and JPEG blocks."""
    if factor == 1:
        return photo
    size = (round(photo.shape[1] * factor), round(photo.shape[0] * factor))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def jitter_color(photo: Photo, rng: np.random.Generator) -> Photo:
    """Random channel order, gain, bias and gamma, the same for the whole patch; sometimes gray.

    photo: uint8 RGB, (height, width, 3)
    """
    image = photo.astype(np.float32) / 255
    image = image[..., rng.permutation(3)]
    if rng.random() < 0.1:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    image = image ** rng.uniform(0.7, 1.4)
    image = image * rng.uniform(0.75, 1.2) + rng.uniform(-0.06, 0.06)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
