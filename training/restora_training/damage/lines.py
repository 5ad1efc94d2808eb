"""Thin defects: scratches, alone and in bundles, and hairs."""

from __future__ import annotations

import numpy as np

from restora_training.damage.layer import (
    Layer,
    Plane,
    draw_tapered,
    random_point,
    wander,
)

_WIDEST_PX = 6


def draw_scratch(
    shape: tuple[int, int], rng: np.random.Generator, *, narrowest_px: float = 0.5
) -> Layer:
    """A scratch of up to 6 px: bright where the emulsion is gone, or dark where dirt is in it."""
    longest = max(shape)
    length = longest * rng.uniform(0.1, 1.2)
    path = wander(
        random_point(shape, rng), rng.uniform(0, 2 * np.pi), length, rng.choice([0.02, 0.3]), rng
    )
    width_px = narrowest_px * (_WIDEST_PX / narrowest_px) ** rng.uniform(0, 1)
    opacity = _taper(shape, path, width_px, rng)
    return Layer(opacity * rng.uniform(0.3, 1.0), _scratch_color(rng))


def draw_scratches(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A bundle of 3 to 12 nearly parallel scratches, as from a dusty roller."""
    angle = rng.uniform(0, 2 * np.pi)
    start = random_point(shape, rng)
    spread = rng.uniform(4, 40)
    opacity: Plane = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(3, 13))):
        aside = rng.normal(0, spread) * np.array([-np.sin(angle), np.cos(angle)])
        length = max(shape) * rng.uniform(0.1, 0.8)
        path = wander(start + aside, angle + rng.normal(0, 0.03), length, 0.02, rng)
        line = _taper(shape, path, rng.uniform(0.5, 2.0), rng) * rng.uniform(0.4, 1.0)
        opacity = np.maximum(opacity, line)
    return Layer(opacity, _scratch_color(rng))


def draw_hair(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A dark or bright hair or thread: thin, long and curled."""
    length = rng.uniform(40, 200) * max(shape) / 512
    path = wander(random_point(shape, rng), rng.uniform(0, 2 * np.pi), length, 2.5, rng)
    opacity = draw_tapered(shape, path, np.full(len(path) - 1, rng.uniform(0.7, 1.8)))
    level = rng.choice([rng.uniform(0, 60), rng.uniform(200, 255)])
    return Layer(opacity * rng.uniform(0.5, 0.95), np.full(3, level))


def _taper(
    shape: tuple[int, int], path: np.ndarray, width_px: float, rng: np.random.Generator
) -> Plane:
    """A curve whose width varies, with gaps where the scratch did not reach the paper."""
    pieces = len(path) - 1
    along = np.linspace(0, np.pi, pieces)
    widths = width_px * (0.4 + 0.6 * np.sin(along)) * rng.uniform(0.8, 1.2, pieces)
    line = draw_tapered(shape, path, widths)
    if rng.uniform() < 0.3:
        middle = path[:-1] + np.diff(path, axis=0) / 2
        for x, y in middle[rng.uniform(size=pieces) < 0.15]:
            radius = rng.uniform(2, 8)
            top, left = max(0, int(y - radius)), max(0, int(x - radius))
            line[top : max(top, int(y + radius)), left : max(left, int(x + radius))] = 0
    return line


def _scratch_color(rng: np.random.Generator) -> np.ndarray:
    bright = rng.uniform() < 0.75
    level = rng.uniform(190, 255) if bright else rng.uniform(0, 70)
    return np.clip(level + rng.normal(0, 6, 3), 0, 255)
