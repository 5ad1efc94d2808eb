"""Clean pictures that look damaged: text, line drawings, wires, cables, fences, halftone, and what
grows.

They teach a detector what to leave alone, and measure how often it does not. Each function draws
onto a picture, uint8 RGB (height, width, 3), and returns a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from restora_training.damage.aging import print_halftone
from restora_training.damage.cables import draw_cables
from restora_training.damage.growths import draw_branches, draw_fibers, draw_wings
from restora_training.damage.ink import blend_ink, choose_ink, make_paper, make_sky
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
    picture = make_paper(photo, rng) if page else photo.copy()
    height, width = picture.shape[:2]
    font = int(rng.choice(_FONTS))
    scale = rng.uniform(0.35, 1.6)
    ink = choose_ink(rng, dark=page or rng.uniform() < 0.5)
    thickness = int(rng.integers(1, 3))
    step = int(28 * scale) + 4
    for baseline in range(step, height + step, step) if page else [height - step]:
        words = (_word(rng) for _ in range(width // 20 + 2))
        start = (int(rng.uniform(-10, 10)), baseline)
        cv2.putText(picture, " ".join(words), start, font, scale, ink, thickness, cv2.LINE_AA)
    return picture


def draw_line_art(photo: Photo, rng: np.random.Generator) -> Photo:
    """A drawing in ink: curves, circles and hatching on paper."""
    picture = make_paper(photo, rng)
    shape = picture.shape[:2]
    opacity: Plane = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(4, 14))):
        path = wander(random_point(shape, rng), rng.uniform(0, 6.3), max(shape), 1.0, rng)
        line = draw_tapered(shape, path, np.full(len(path) - 1, rng.uniform(0.8, 2.5)))
        opacity = np.maximum(opacity, line)
    picture = blend_ink(picture, opacity, choose_ink(rng, dark=True))
    for _ in range(int(rng.integers(0, 4))):
        center = tuple(random_point(shape, rng).astype(int).tolist())
        axes = tuple(int(v) for v in rng.uniform(5, max(shape) / 3, 2))
        angle = rng.uniform(0, 180)
        ink = choose_ink(rng, dark=True)
        cv2.ellipse(picture, center, axes, angle, 0, 360, ink, 1, cv2.LINE_AA)
    return picture


def draw_wires(photo: Photo, rng: np.random.Generator) -> Photo:
    """Wires that hang across the whole picture, nearly parallel, before the sky."""
    picture = make_sky(photo, rng)
    height, width = picture.shape[:2]
    columns = np.linspace(-4, width + 4, 40)
    first, slope = rng.uniform(0, height), rng.uniform(-0.4, 0.4)
    sag, gap = rng.uniform(0, height / 4), rng.uniform(6, 40)
    thick, ink = rng.uniform(0.8, 3.5), choose_ink(rng, dark=True)
    for number in range(int(rng.integers(1, 6))):
        along = columns / width
        rows = first + number * gap + slope * columns + sag * 4 * along * (1 - along)
        path = np.stack((columns, rows), 1)
        line = draw_tapered((height, width), path, np.full(len(path) - 1, thick))
        picture = blend_ink(picture, line * rng.uniform(0.7, 1.0), ink)
    return picture


def draw_fence(photo: Photo, rng: np.random.Generator) -> Photo:
    """Thin bars at equal distances, as of a fence, blinds or a grid."""
    picture = photo.copy()
    height, width = picture.shape[:2]
    gap, thick = rng.uniform(5, 30), int(rng.integers(1, 4))
    ink = choose_ink(rng, dark=rng.uniform() < 0.5)
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
    "wings": draw_wings,
    "fibers": draw_fibers,
    "cables": draw_cables,
}


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(_LETTERS), int(rng.integers(1, 10))))
