"""Clean pictures that look damaged: text, line drawings, wires, branches, fences, halftone.

They teach a detector what to leave alone, and measure how often it does not. Each function draws
onto a picture, uint8 RGB (height, width, 3), and returns a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from restora_training.damage.aging import print_halftone
from restora_training.damage.layer import Photo, Plane, draw_tapered, random_point, wander

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHILMNOPRSTUVW0123456789"


def draw_text(photo: Photo, rng: np.random.Generator) -> Photo:
    """Lines of text: a page, or a caption on the photo."""
    page = rng.uniform() < 0.6
    picture = _paper(photo, rng) if page else photo.copy()
    height, width = picture.shape[:2]
    font = int(rng.choice(_FONTS))
    scale = rng.uniform(0.35, 1.6)
    ink = _ink(rng, dark=page or rng.uniform() < 0.5)
    thickness = int(rng.integers(1, 3))
    step = int(28 * scale) + 4
    for baseline in range(step, height + step, step) if page else [height - step]:
        words = (_word(rng) for _ in range(width // 20 + 2))
        start = (int(rng.uniform(-10, 10)), baseline)
        cv2.putText(picture, " ".join(words), start, font, scale, ink, thickness, cv2.LINE_AA)
    return picture


def draw_line_art(photo: Photo, rng: np.random.Generator) -> Photo:
    """A drawing in ink: curves, circles and hatching on paper."""
    picture = _paper(photo, rng)
    shape = picture.shape[:2]
    opacity: Plane = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(4, 14))):
        path = wander(random_point(shape, rng), rng.uniform(0, 6.3), max(shape), 1.0, rng)
        line = draw_tapered(shape, path, np.full(len(path) - 1, rng.uniform(0.8, 2.5)))
        opacity = np.maximum(opacity, line)
    picture = _blend(picture, opacity, _ink(rng, dark=True))
    for _ in range(int(rng.integers(0, 4))):
        center = tuple(random_point(shape, rng).astype(int).tolist())
        axes = tuple(int(v) for v in rng.uniform(5, max(shape) / 3, 2))
        angle = rng.uniform(0, 180)
        cv2.ellipse(picture, center, axes, angle, 0, 360, _ink(rng, dark=True), 1, cv2.LINE_AA)
    return picture


def draw_wires(photo: Photo, rng: np.random.Generator) -> Photo:
    """Wires that hang across the whole picture, nearly parallel, before the sky."""
    picture = _sky(photo, rng)
    height, width = picture.shape[:2]
    columns = np.linspace(-4, width + 4, 40)
    first, slope = rng.uniform(0, height), rng.uniform(-0.4, 0.4)
    sag, gap = rng.uniform(0, height / 4), rng.uniform(6, 40)
    thick, ink = rng.uniform(0.8, 3.5), _ink(rng, dark=True)
    for number in range(int(rng.integers(1, 6))):
        along = columns / width
        rows = first + number * gap + slope * columns + sag * 4 * along * (1 - along)
        path = np.stack((columns, rows), 1)
        line = draw_tapered((height, width), path, np.full(len(path) - 1, thick))
        picture = _blend(picture, line * rng.uniform(0.7, 1.0), ink)
    return picture


def draw_branches(photo: Photo, rng: np.random.Generator) -> Photo:
    """A bare tree before the sky: dark limbs that divide into twigs."""
    picture = _sky(photo, rng)
    shape = picture.shape[:2]
    ink = _ink(rng, dark=True)
    start = np.array([rng.uniform(0, shape[1]), float(shape[0])])
    todo = [(start, -np.pi / 2 + rng.normal(0, 0.3), rng.uniform(4, 14), 0)]
    while todo:
        root, angle, width_px, depth = todo.pop()
        length = max(shape) * rng.uniform(0.15, 0.4) * 0.75**depth
        path = wander(root, angle, length, 0.8, rng)
        widths = np.linspace(width_px, width_px * 0.6, len(path) - 1)
        picture = _blend(picture, draw_tapered(shape, path, np.maximum(widths, 0.6)), ink)
        if depth < 4 and width_px > 0.9:
            for side in (-1, 1):
                number = int(rng.integers(len(path) // 2, len(path)))
                turn = side * rng.uniform(0.2, 0.9)
                todo.append((path[number], angle + turn, width_px * 0.6, depth + 1))
    return picture


def draw_fence(photo: Photo, rng: np.random.Generator) -> Photo:
    """Thin bars at equal distances, as of a fence, blinds or a grid."""
    picture = photo.copy()
    height, width = picture.shape[:2]
    gap, thick = rng.uniform(5, 30), int(rng.integers(1, 4))
    ink = _ink(rng, dark=rng.uniform() < 0.5)
    slope = rng.uniform(-0.3, 0.3)
    both = rng.uniform() < 0.5
    for at in np.arange(-0.3 * height, width * 1.3, gap):
        ends = ((int(at), 0), (int(at + slope * height), height))
        cv2.line(picture, *ends, ink, thick, cv2.LINE_AA)
    for at in np.arange(-0.3 * width, height * 1.3, gap) if both else ():
        ends = ((0, int(at)), (width, int(at + slope * width)))
        cv2.line(picture, *ends, ink, thick, cv2.LINE_AA)
    return picture


def draw_halftone(photo: Photo, rng: np.random.Generator) -> Photo:
    """The photo printed in dots."""
    printed = print_halftone(photo.astype(np.float32) / np.float32(255), rng)
    return np.rint(np.clip(printed, 0, 1) * 255).astype(np.uint8)


LOOKALIKES: Mapping[str, Callable[[Photo, np.random.Generator], Photo]] = {
    "text": draw_text,
    "line art": draw_line_art,
    "wires": draw_wires,
    "branches": draw_branches,
    "fence": draw_fence,
    "halftone": draw_halftone,
}


def _paper(photo: Photo, rng: np.random.Generator) -> Photo:
    """An empty sheet, a little uneven."""
    level = rng.uniform(205, 255) - rng.uniform(0, 30) * np.array([0.0, 0.3, 1.0])
    grain = rng.normal(0, rng.uniform(0, 3), photo.shape[:2])[..., None]
    return np.rint(np.clip(level + grain, 0, 255)).astype(np.uint8)


def _sky(photo: Photo, rng: np.random.Generator) -> Photo:
    """A bright gradient; sometimes the photo itself, out of focus."""
    height, width = photo.shape[:2]
    if rng.uniform() < 0.3:
        return np.asarray(cv2.GaussianBlur(photo, (0, 0), rng.uniform(3, 8)), np.uint8)
    top, bottom = (rng.uniform(120, 250) + rng.normal(0, 12, 3) for _ in range(2))
    share = np.linspace(0, 1, height)[:, None, None]
    grain = rng.normal(0, rng.uniform(0.5, 3), (height, width))[..., None]
    sky = top + (bottom - top) * share + grain
    return np.rint(np.clip(sky, 0, 255)).astype(np.uint8)


def _ink(rng: np.random.Generator, *, dark: bool) -> tuple[int, int, int]:
    level = rng.uniform(0, 90) if dark else rng.uniform(200, 255)
    red, green, blue = np.clip(level + rng.normal(0, 10, 3), 0, 255).astype(int).tolist()
    return red, green, blue


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(_LETTERS), int(rng.integers(1, 10))))


def _blend(picture: Photo, opacity: Plane, ink: tuple[int, int, int]) -> Photo:
    share = opacity[..., None]
    return np.rint(picture * (1 - share) + np.array(ink) * share).astype(np.uint8)
