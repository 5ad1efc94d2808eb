"""Defects of the paper: folds, cracks, torn edges, missing corners, and tape."""

from __future__ import annotations

import cv2
import numpy as np

from restora_training.damage.layer import (
    Layer,
    Plane,
    Points,
    draw_curve,
    draw_noise,
    draw_tapered,
    random_point,
    wander,
)


def draw_fold(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A fold across the picture: paint lost along the crease, a lit and a dark flank."""
    path = _across(shape, rng)
    crease = draw_curve(shape, path, rng.uniform(1, 3.5))
    broken = np.clip(0.7 + 0.6 * draw_noise(shape, rng.uniform(3, 10), rng), 0, 1)
    lost = crease * broken
    flank = rng.uniform(3, 10)
    lit = draw_curve(shape, path + _normal(path) * flank / 2, flank)
    dark = draw_curve(shape, path - _normal(path) * flank / 2, flank)
    lit, dark = (_soften(side, flank / 3) * rng.uniform(0.1, 0.35) for side in (lit, dark))
    opacity = np.maximum(lost, np.maximum(lit, dark))
    paper = rng.uniform(195, 245)
    color = np.where(dark > lit, rng.uniform(10, 50), 250.0)
    color = np.where(lost >= np.maximum(lit, dark), paper, color)
    return Layer(opacity, np.repeat(color[..., None], 3, 2))


def draw_cracks(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A crack that branches: thin, bright, with lost paint where branches meet."""
    opacity: Plane = np.zeros(shape, np.float32)
    todo = [(random_point(shape, rng), rng.uniform(0, 2 * np.pi), 0)]
    while todo:
        start, angle, depth = todo.pop()
        length = max(shape) * rng.uniform(0.1, 0.4) / (1 + depth)
        path = wander(start, angle, length, 1.2, rng)
        widths = np.linspace(1.0, 0.3, len(path) - 1) * rng.uniform(0.8, 3.0) / (1 + 0.5 * depth)
        opacity = np.maximum(opacity, draw_tapered(shape, path, widths))
        if depth < 2:
            for _ in range(int(rng.integers(0, 4))):
                number = int(rng.integers(1, len(path)))
                turn = rng.choice([-1, 1]) * rng.uniform(0.5, 1.3)
                todo.append((path[number], angle + turn, depth + 1))
    paper = rng.uniform(180, 245)
    return Layer(opacity * rng.uniform(0.7, 1.0), np.array([paper, paper, paper * 0.94]))


def draw_torn_edge(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A strip torn off one edge; the backing shows, with a light rim of bare paper."""
    height, width = shape
    depth = rng.uniform(0.02, 0.1) * min(shape)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = (columns, rows, width - 1 - columns, height - 1 - rows)[int(rng.integers(4))]
    ragged = distance + depth * 0.4 * draw_noise(shape, max(4.0, depth), rng)
    ragged = ragged + 1.5 * draw_noise(shape, 3, rng)
    return _missing(ragged, depth, rng)


def draw_missing_corner(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A corner that is gone."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    if rng.uniform() < 0.5:
        columns = width - 1 - columns
    if rng.uniform() < 0.5:
        rows = height - 1 - rows
    slant = rng.uniform(0.5, 2.0)
    distance = (columns * slant + rows) / np.sqrt(1 + slant**2)
    depth = rng.uniform(0.05, 0.2) * min(shape)
    return _missing(distance + 1.5 * draw_noise(shape, 4, rng), depth, rng)


def draw_tape(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A strip of yellowed adhesive tape: partly transparent, with edges that catch the light."""
    start, angle = random_point(shape, rng), rng.uniform(0, np.pi)
    length, width = rng.uniform(0.2, 0.6) * max(shape), rng.uniform(0.04, 0.1) * max(shape)
    along = np.array([np.cos(angle), np.sin(angle)])
    path = np.stack((start - along * length / 2, start + along * length / 2))
    strip = np.zeros(shape, np.uint8)
    side = np.array([-along[1], along[0]]) * width / 2
    corners = np.stack((path[0] + side, path[1] + side, path[1] - side, path[0] - side))
    cv2.fillPoly(strip, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    inside = np.asarray(strip, np.float32) / np.float32(255)
    edge = np.abs(inside - _soften(inside, 1.0)) * 2
    opacity = inside * rng.uniform(0.2, 0.5) + edge * 0.4
    color = np.array([rng.uniform(190, 235), rng.uniform(160, 205), rng.uniform(90, 150)])
    return Layer(np.clip(opacity, 0, 1), color)


def _missing(distance: Plane, depth: float, rng: np.random.Generator) -> Layer:
    """Everything nearer than `depth` is gone; a rim of bare paper follows."""
    rim = rng.uniform(1, 5)
    opacity = np.clip(depth + rim - distance + 0.5, 0, 1).astype(np.float32)
    backing, paper = rng.uniform(0, 255), rng.uniform(215, 250)
    color = np.where(distance < depth, backing, paper)
    return Layer(opacity, np.repeat(color[..., None], 3, 2))


def _across(shape: tuple[int, int], rng: np.random.Generator) -> Points:
    """A nearly straight path from one edge to the opposite one."""
    height, width = shape
    first, last = rng.uniform(0.1, 0.9, 2)
    ends = np.array([[-2.0, first * height], [width + 2.0, last * height]])
    if rng.uniform() < 0.5:
        ends = np.array([[first * width, -2.0], [last * width, height + 2.0]])
    count = 48
    path = np.linspace(ends[0], ends[1], count)
    aside = np.cumsum(rng.normal(0, max(shape) / 800, count))
    return path + _normal(path) * (aside - np.linspace(aside[0], aside[-1], count))[:, None]


def _normal(path: Points) -> Points:
    """The unit normal of the line through the ends of a path."""
    along = (path[-1] - path[0]) / np.linalg.norm(path[-1] - path[0])
    return np.array([-along[1], along[0]])


def _soften(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.3)), np.float32)
