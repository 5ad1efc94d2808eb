"""Opacity and color of a defect, and putting it on a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Photo = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
Points = NDArray[np.float64]

_FAINTEST = 1 / 16  # below this opacity a defect cannot be seen, and is left out
_FINE = 4  # lines are drawn at this many times the resolution


@dataclass(frozen=True, slots=True)
class Damaged:
    """picture: uint8 RGB, (height, width, 3); mask: the pixels that defects changed"""

    picture: Photo
    mask: Mask


@dataclass(frozen=True, slots=True)
class Layer:
    """One defect.

    opacity: (height, width), 0..1
    color: what shows where the opacity is 1: RGB in 0..255, (3,) or (height, width, 3)
    """

    opacity: Plane
    color: NDArray[np.floating]

    @property
    def mask(self) -> Mask:
        """The pixels that it changes."""
        return np.asarray(self.opacity >= _FAINTEST, np.bool_)


def apply_layer(damaged: Damaged, layer: Layer) -> Damaged:
    """Blend a defect into the picture. Pixels outside its mask stay as they are, bit for bit."""
    touched = layer.mask
    alpha = np.clip(layer.opacity, 0, 1)[..., None]
    mixed = damaged.picture * (1 - alpha) + layer.color * alpha
    picture = np.where(touched[..., None], np.rint(np.clip(mixed, 0, 255)), damaged.picture)
    return Damaged(picture.astype(np.uint8), damaged.mask | touched)


def draw_curve(shape: tuple[int, int], points: Points, width_px: float) -> Plane:
    """The coverage of a curve through `points`, 0..1.

    points: (count, 2): x and y in pixels
    width_px: from about a quarter of a pixel
    """
    return draw_tapered(shape, points, np.full(len(points) - 1, width_px))


def draw_tapered(shape: tuple[int, int], points: Points, widths_px: NDArray[np.floating]) -> Plane:
    """Like draw_curve, with a width for each piece between two points. Only the part of the picture
    that the curve crosses is drawn at the fine resolution."""
    height, width = shape
    plane = np.zeros(shape, np.float32)
    margin = float(widths_px.max()) + 2
    low = np.floor(points.min(0) - margin).astype(int)
    high = np.ceil(points.max(0) + margin).astype(int)
    left, top = np.clip(low, 0, (width, height))
    right, bottom = np.clip(high, 0, (width, height))
    if right <= left or bottom <= top:
        return plane
    fine = np.zeros(((bottom - top) * _FINE, (right - left) * _FINE), np.uint8)
    at = np.rint((points - (left, top)) * _FINE * 16).astype(np.int32)
    for start, end, thick in zip(at[:-1], at[1:], widths_px, strict=True):
        thickness = max(1, round(float(thick) * _FINE))
        cv2.line(fine, tuple(start.tolist()), tuple(end.tolist()), 255, thickness, cv2.LINE_AA, 4)
    size = (int(right - left), int(bottom - top))
    plane[top:bottom, left:right] = cv2.resize(fine, size, interpolation=cv2.INTER_AREA) / 255
    return plane


def draw_noise(shape: tuple[int, int], grain_px: float, rng: np.random.Generator) -> Plane:
    """Smooth random values with a standard deviation of 1 and a mean of 0.

    grain_px: size of the blobs
    """
    height, width = shape
    small = (max(2, round(height / grain_px) + 1), max(2, round(width / grain_px) + 1))
    values = rng.standard_normal(small).astype(np.float32)
    smooth = np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6), np.float32)


def wander(
    start: Points, angle: float, length: float, bend: float, rng: np.random.Generator
) -> Points:
    """A path that turns a little at every step: (count, 2).

    angle: radians; length: in pixels; bend: standard deviation of the turn over 100 pixels, radians
    """
    step = max(2.0, length / 64)
    count = max(2, int(length / step) + 1)
    turns = rng.normal(0, bend * np.sqrt(step / 100), count)
    angles = angle + np.cumsum(turns)
    moves = step * np.stack((np.cos(angles), np.sin(angles)), 1)
    return np.concatenate((start[None], start + np.cumsum(moves, 0)))


def random_point(shape: tuple[int, int], rng: np.random.Generator) -> Points:
    return rng.uniform(0, 1, 2) * (shape[1], shape[0])
