"""Decode 16-bit pictures without losing the low bits, as Pillow would."""

import cv2
import numpy as np
from PIL import ImageFile

from restora.errors import TruncatedImageError, UnsupportedImageError
from restora.image.header import ppm_white
from restora.image.orientation import reset_orientation, turn_upright
from restora.image.photo import Metadata, Photo, Pixels


def decode_deep(
    data: bytes, image: ImageFile.ImageFile, metadata: Metadata, orientation: int, *, name: str
) -> Photo:
    """Decode a 16-bit PNG, TIFF or PNM file whose pixels Pillow has already found whole.

    image  the same file, opened and loaded by Pillow: tells grey from colour
    """
    if image.format == "TIFF":
        data = reset_orientation(data)  # OpenCV 5.0 returns nothing for a turned 16-bit TIFF
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise TruncatedImageError(f"{name} is damaged, or a kind of 16-bit file that OpenCV lacks")
    if decoded.dtype != np.uint16 or decoded.shape[:2] != _stored_size(image, orientation):
        raise UnsupportedImageError(
            f"{name}: 16 bits were expected, OpenCV reads {decoded.dtype} of shape {decoded.shape}"
        )
    array: Pixels = np.asarray(decoded, np.uint16)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if image.format == "PPM":
        array = _stretch(array, ppm_white(data))
    array = turn_upright(array, orientation)
    kind = image.format
    if array.ndim == 2:
        return Photo(array, None, metadata, kind)
    alpha = np.ascontiguousarray(array[..., 3]) if array.shape[2] == 4 else None
    if _is_grey(image, data):
        return Photo(np.ascontiguousarray(array[..., 0]), alpha, metadata, kind)
    rgb = np.ascontiguousarray(array[..., 2::-1])
    return Photo(rgb, alpha, metadata, kind)


def _is_grey(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Grey with alpha, which OpenCV spreads over four channels."""
    if image.format == "PNG":
        return data[25] in (0, 4)  # the colour type in IHDR
    return image.mode.startswith(("L", "I"))


def _stored_size(image: ImageFile.ImageFile, orientation: int) -> tuple[int, int]:
    """(height, width) in the file; Pillow has turned a TIFF picture by now."""
    width, height = image.size
    turned = image.format == "TIFF" and orientation >= 5
    return (width, height) if turned else (height, width)


def _stretch(array: Pixels, white: int) -> Pixels:
    """PNM files say which value means white."""
    if white == 65535:
        return array
    return np.asarray(np.rint(np.minimum(array, white) * (65535.0 / white)), np.uint16)
