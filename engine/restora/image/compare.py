"""A before | after picture."""

from dataclasses import replace

import cv2
import numpy as np

from restora.image.photo import Metadata, Photo

_GAP = 0.01  # of the width, white


def make_comparison(before: Photo, after: Photo) -> Photo:
    """The photo as it was, enlarged bicubically to the result's size, beside the result.

    8-bit RGB; transparency is shown on white.
    """
    left, right = (_flatten(photo) for photo in (before, after))
    size = (right.shape[1], right.shape[0])
    left = np.asarray(cv2.resize(left, size, interpolation=cv2.INTER_CUBIC))
    gap = np.full((right.shape[0], max(2, round(_GAP * size[0])), 3), 255, np.uint8)
    joined = np.concatenate((left, gap, right), axis=1)
    metadata = Metadata(icc=None if after.is_gray else after.metadata.icc)
    return replace(after, pixels=joined, alpha=None, metadata=metadata)


def _flatten(photo: Photo) -> np.ndarray:
    pixels = (
        photo.pixels if photo.pixels.dtype == np.uint8 else (photo.pixels >> 8).astype(np.uint8)
    )
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if photo.alpha is None:
        return pixels
    share = (photo.alpha.astype(np.float32) / photo.white)[..., None]
    return np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)
