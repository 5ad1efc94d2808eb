"""Whole faces, degraded for the training of a face network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from restora.errors import OptionError
from restora_training.components import COMPONENTS, Place, box_of, flip_places
from restora_training.data.photos import PhotoSet
from restora_training.data.samples import Sample, tensor_of
from restora_training.degradations.faces import (
    PAPER,
    FaceRange,
    degrade_face,
    draw_face_degradation,
    shrink_face,
)
from restora_training.recipe_parts import DegradationPart

EYE_RATIO = 1.4
_TEMPLATE_SIDE = 512
# Where the FFHQ alignment puts the components: eyes, nose and mouth corners from the template of
# facexlib (arXiv:1812.04948), extents as the 68 landmarks of its faces have them on average.
_TEMPLATE: Mapping[str, Place] = {
    "left_eye": (193.0, 240.0, 26.0),
    "right_eye": (318.9, 240.2, 26.0),
    "mouth": (257.2, 371.3, 56.0),
    "nose": (256.6, 290.0, 48.0),
    "left_eyebrow": (188.0, 205.0, 40.0),
    "right_eyebrow": (324.0, 205.0, 40.0),
    "left_ear": (105.0, 265.0, 40.0),
    "right_ear": (407.0, 265.0, 40.0),
    "chin": (257.0, 445.0, 56.0),
}


class FaceMaker:
    """Degrades aligned faces.

    photos: aligned faces, square, shrunk to `side`
    places: of the components by the name of a photo, for a face of 512 pixels; None uses the
        places of the alignment template

    Raises OptionError if a place of a component is missing.
    """

    def __init__(
        self,
        photos: PhotoSet,
        degradation: DegradationPart,
        *,
        side: int,
        seed: int,
        flip: bool,
        components: Sequence[str],
        places: Mapping[str, Mapping[str, Place]] | None = None,
    ) -> None:
        self.photos, self.side, self.seed, self.flip = photos, side, seed, flip
        self.ranges = PAPER if degradation.kind == "paper" else FaceRange()
        self.components = list(components)
        self.places = places
        if places is not None:
            mirrored = [COMPONENTS[name].mirror for name in components] if flip else []
            _require_places(places, photos.names, [*components, *mirrored])

    def make(self, step: int, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, step, index])
        number = self.photos.draw(step, rng)
        face = self.photos[number]
        if face.shape[:2] != (self.side, self.side):
            face = np.asarray(
                cv2.resize(face, (self.side, self.side), interpolation=cv2.INTER_AREA), np.uint8
            )
        places = dict(_TEMPLATE)
        if self.places is not None:
            places = dict(self.places[self.photos.names[number]])
        if self.flip and rng.uniform() < 0.5:
            face = np.ascontiguousarray(face[:, ::-1])
            places = flip_places(places, _TEMPLATE_SIDE)
        how = draw_face_degradation(self.ranges, rng)
        noise = rng.standard_normal(shrink_face(face, how).shape)
        clean = tensor_of(face) * 2 - 1
        degraded = tensor_of(degrade_face(face, how, noise)) * 2 - 1
        scale = self.side / _TEMPLATE_SIDE
        boxes = {
            name: np.array(box_of(name, places[name], eye_ratio=EYE_RATIO), np.float32) * scale
            for name in self.components
        }
        return Sample(degraded, clean, clean, boxes)


def _require_places(
    places: Mapping[str, Mapping[str, Place]], names: Sequence[str], components: Sequence[str]
) -> None:
    lacking = [
        (name, component)
        for name in names
        for component in components
        if component not in places.get(name, {})
    ]
    if lacking:
        name, component = lacking[0]
        others = len({name for name, _ in lacking}) - 1
        raise OptionError(
            f"the table of components lacks {component} of {name}"
            + (f", and others of {others} more faces" if others else "")
            + ": make it again with `restora train components`, and remove the faces where a "
            "component is not visible"
        )


def read_places(path: Path) -> dict[str, dict[str, Place]]:
    """Read a table of components: {"face.png": {"left_eye": [x, y, half], ...}, ...}.

    Raises OptionError.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): {str(part): _place_of(part, values) for part, values in parts.items()}
            for name, parts in table.items()
        }
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise OptionError(f"{path} is not a table of components: {error}") from error


def _place_of(name: str, values: Sequence[float]) -> Place:
    if name not in COMPONENTS:
        raise ValueError(f"there is no component {name!r}")
    x, y, half = (float(value) for value in values)
    if not (0 <= x <= _TEMPLATE_SIDE and 0 <= y <= _TEMPLATE_SIDE and 0 < half <= _TEMPLATE_SIDE):
        raise ValueError(
            f"x and y of {name} must be in a face of {_TEMPLATE_SIDE} pixels, and its half length "
            f"above 0, got {x}, {y}, {half}"
        )
    return x, y, half
