"""The components of a face that a discriminator of their own judges: where they are.

Left and right are the sides of the image, before it is flipped. GFP-GAN (arXiv:2101.04061) uses the
eyes and the mouth; the paper on the joint framework adds the nose, and names eyebrows, ears and
chin as future work.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Component:
    """One component.

    crop: side of its crop for a face of 512 pixels
    landmarks: its points among the 68 of the iBUG scheme, first to last; None if they have none
    labels: its labels in the parsing maps of ParseNet (CelebAMask-HQ)
    mirror: name of the component that takes its place when the image is flipped
    grows: its box grows by the ratio for eyes
    """

    crop: int
    landmarks: tuple[int, int] | None
    labels: tuple[int, ...]
    mirror: str
    grows: bool = False


COMPONENTS: Mapping[str, Component] = {
    "left_eye": Component(80, (36, 41), (4,), "right_eye", grows=True),
    "right_eye": Component(80, (42, 47), (5,), "left_eye", grows=True),
    "mouth": Component(120, (48, 67), (10, 11, 12), "mouth"),
    "nose": Component(120, (27, 35), (2,), "nose"),
    "left_eyebrow": Component(80, (17, 21), (6,), "right_eyebrow"),
    "right_eyebrow": Component(80, (22, 26), (7,), "left_eyebrow"),
    "left_ear": Component(80, None, (8,), "right_ear"),
    "right_ear": Component(80, None, (9,), "left_ear"),
    "chin": Component(120, (6, 10), (), "chin"),
}
PUBLISHED = ("left_eye", "right_eye", "mouth")

Place = tuple[float, float, float]  # center x, center y, half length, in pixels
Box = tuple[float, float, float, float]  # left, top, right, bottom

_SKIN = 1  # label of the face parser
_SMALLEST_HALF = 16.0  # for a face of 512 pixels


def place_from_landmarks(name: str, landmarks: NDArray[np.floating]) -> Place:
    """The place of a component: the mean of its landmarks and half of their larger extent.

    landmarks: (68, 2), x and y in pixels of a face of 512 x 512

    Raises ValueError for a component without landmarks.
    """
    points = COMPONENTS[name].landmarks
    if points is None:
        raise ValueError(f"{name} has no landmarks: use a parsing map")
    if landmarks.shape != (68, 2):
        raise ValueError(f"landmarks must have shape (68, 2), got {landmarks.shape}")
    chosen = landmarks[points[0] : points[1] + 1]
    return _place_of(chosen.mean(0), chosen)


def place_from_parsing(name: str, labels: NDArray[np.integer]) -> Place | None:
    """The place of a component in a parsing map: the center and half of the extent of its label.

    labels: (512, 512), of an aligned face. Left and right components are told apart by their half
        of the image, because data sets disagree on whose left their labels mean. The lower fifth of
        the skin is taken as the chin

    Returns None if the component is not visible.
    """
    component = COMPONENTS[name]
    wanted = {*component.labels, *COMPONENTS[component.mirror].labels} or {_SKIN}
    rows, columns = np.nonzero(np.isin(labels, list(wanted)))
    if component.mirror != name:
        here = (columns < labels.shape[1] / 2) == name.startswith("left")
        rows, columns = rows[here], columns[here]
    if name == "chin" and len(rows):
        lower = rows >= rows.max() - (rows.max() - rows.min()) / 5
        rows, columns = rows[lower], columns[lower]
    if not len(rows):
        return None
    points = np.stack((columns, rows), 1).astype(np.float64)
    return _place_of((points.min(0) + points.max(0)) / 2, points)


def flip_places(places: Mapping[str, Place], side: int) -> dict[str, Place]:
    """The places in the mirrored image. As in the published code x becomes side - x, half a pixel
    beside the true mirror image of side - 1 - x."""
    flipped: dict[str, Place] = {}
    for name, (x, y, half) in places.items():
        flipped[COMPONENTS[name].mirror] = (side - x, y, half)
    return flipped


def box_of(name: str, place: Place, *, eye_ratio: float = 1.0) -> Box:
    """The box of a component: from center - half + 1 to center + half, as published.

    eye_ratio: factor on the half length of eyes; 1.4 in GFP-GAN's training
    """
    x, y, half = place
    if COMPONENTS[name].grows:
        half *= eye_ratio
    return (x - half + 1, y - half + 1, x + half, y + half)


def _place_of(center: NDArray[np.floating], points: NDArray[np.floating]) -> Place:
    extent = (points.max(0) - points.min(0)).max()
    return float(center[0]), float(center[1]), max(float(extent) / 2, _SMALLEST_HALF)
