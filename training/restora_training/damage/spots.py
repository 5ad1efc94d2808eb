"""Round defects: dust and specks, flakes, mold, stains and water rims."""

from __future__ import annotations

import cv2
import numpy as np

from restora_training.damage.layer import Layer, Plane, draw_noise, random_point

_MOST_SPECKS = 60
_FLAKE_STRETCH = 2.2
_FLAKE_REACH = 5.4  # times the radius: the most stretched flake, with the most ragged edge


def draw_dust(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """Specks of 0.5 to 4 px, a single one or many, nearly all of one color."""
    opacity: Plane = np.zeros(shape, np.float32)
    count = round(_MOST_SPECKS ** rng.uniform(0, 1))
    for _ in range(count):
        _stamp(opacity, random_point(shape, rng), 0.5 * 8 ** rng.uniform(0, 1), rng)
    level = rng.uniform(200, 255) if rng.uniform() < 0.7 else rng.uniform(0, 60)
    return Layer(opacity * rng.uniform(0.6, 1.0), np.full(3, level))


def draw_flakes(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """Ragged spots where the emulsion came off, about 3 to 30 px wide: opaque, with sharp edges."""
    opacity: Plane = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        radius = 1.5 * 10 ** rng.uniform(0, 1)
        side = 2 * int(np.ceil(_FLAKE_REACH * radius)) + 1
        rows, columns = np.mgrid[:side, :side] - side // 2
        angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, _FLAKE_STRETCH)
        along = columns * np.cos(angle) + rows * np.sin(angle)
        across = rows * np.cos(angle) - columns * np.sin(angle)
        distance = np.hypot(along / stretch, across * stretch)
        for share, size in ((0.4, max(radius, 1.5)), (0.15, max(radius / 4, 1.0))):
            noise = draw_noise((side, side), size, rng).clip(-2, 2)
            distance = distance + share * radius * noise
        flake = np.asarray(np.clip(radius - distance + 0.5, 0, 1), np.float32)
        _lay(opacity, flake, random_point(shape, rng))
    bright = rng.uniform() < 0.8
    level = rng.uniform(210, 255) if bright else rng.uniform(0, 50)
    return Layer(opacity * rng.uniform(0.8, 1.0), np.full(3, level))


def draw_mold(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A cluster of small dark dots, denser in its middle."""
    opacity: Plane = np.zeros(shape, np.float32)
    center = random_point(shape, rng)
    spread = rng.uniform(0.03, 0.12) * max(shape)
    for _ in range(int(rng.integers(20, 90))):
        _stamp(opacity, center + rng.normal(0, spread, 2), rng.uniform(0.6, 2.5), rng)
    color = np.array([rng.uniform(20, 90), rng.uniform(25, 80), rng.uniform(10, 60)])
    return Layer(opacity * rng.uniform(0.5, 0.9), color)


def draw_stain(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A brownish, partly transparent stain with an uneven outline and a darker rim."""
    inside = _blob(shape, rng, size=(0.08, 0.3))
    rim = _rim_of(inside, rng.uniform(1.5, 5))
    body = rng.uniform(0.1, 0.4)
    opacity = np.clip(inside * body + rim * rng.uniform(0.2, 0.5), 0, 1)
    color = np.array([rng.uniform(90, 170), rng.uniform(60, 120), rng.uniform(20, 70)])
    return Layer(opacity, color)


def draw_water_rim(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """The tide line that dried water leaves: the rim alone."""
    rim = _rim_of(_blob(shape, rng, size=(0.15, 0.45)), rng.uniform(1, 4))
    level = rng.uniform(60, 150)
    return Layer(rim * rng.uniform(0.3, 0.7), np.array([level, level * 0.85, level * 0.6]))


def _stamp(plane: Plane, center: np.ndarray, radius: float, rng: np.random.Generator) -> None:
    """Draw an ellipse with a soft edge into the plane, in place."""
    height, width = plane.shape
    reach = int(np.ceil(radius * 1.6 + 1))
    x, y = center
    left, top = max(0, int(x) - reach), max(0, int(y) - reach)
    right, bottom = min(width, int(x) + reach + 1), min(height, int(y) + reach + 1)
    if left >= right or top >= bottom:
        return
    rows, columns = np.mgrid[top:bottom, left:right]
    stretch, angle = rng.uniform(0.6, 1.6), rng.uniform(0, np.pi)
    u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
    distance = np.hypot(u / stretch, v * stretch)
    spot = np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)
    plane[top:bottom, left:right] = np.maximum(plane[top:bottom, left:right], spot)


def _lay(plane: Plane, spot: Plane, center: np.ndarray) -> None:
    """Put a spot into the plane, in place; what lies beyond its edges is left out."""
    height, width = plane.shape
    side = len(spot)
    left, top = (int(value) - side // 2 for value in center)
    rows = slice(max(0, top), min(height, top + side))
    columns = slice(max(0, left), min(width, left + side))
    part = spot[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    plane[rows, columns] = np.maximum(plane[rows, columns], part)


def _blob(shape: tuple[int, int], rng: np.random.Generator, *, size: tuple[float, float]) -> Plane:
    """A round area with an uneven outline, 1 inside."""
    x, y = random_point(shape, rng)
    radius = rng.uniform(*size) * max(shape)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(columns - x, rows - y) / radius
    uneven = distance + 0.15 * draw_noise(shape, radius / 2, rng)
    uneven = uneven + 0.05 * draw_noise(shape, radius / 8, rng)
    soft = np.clip((1 - uneven) * radius / 2 + 0.5, 0, 1)
    return np.asarray(soft, np.float32)


def _rim_of(inside: Plane, width_px: float) -> Plane:
    """A line along the outline of an area."""
    blurred = np.asarray(cv2.GaussianBlur(inside, (0, 0), width_px), np.float32)
    return np.asarray(np.clip(4 * blurred * (1 - blurred), 0, 1) ** 2 * (inside > 0.05), np.float32)
