"""What the pictures to damage show: parts of the free photos, turned, resized and pasted together.

The free photos are few. A network that saw them as they are would learn their contents by heart,
and take the edges of other photos for scratches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restora_calibration.folders import list_photos, read_pixels
from restora_calibration.photos import TRAINING, read_free_photo
from restora_training.damage.layer import Photo, Plane
from restora_training.damage.strokes import draw_bar, draw_rim, draw_strokes
from restora_training.data.augment import jitter_color, shrink_photo

Odds = NDArray[np.float64]

_SIZES = (1.0, 0.71, 0.5)
_LARGEST = 1.8  # enlarged parts are soft, as scans of high resolution are
# pictures of other things than prints show, and of stars and grains, which look like dust:
# they would outweigh the rest
_RARE = {
    "hubble_deep_field", "retina", "immunohistochemistry", "cell",
    "darksky_by_bryant_stiven_salazar_aguirre", "starry-night_by_adrian_pelletier",
    "sparkle-magic_by_bryant_stiven_salazar_aguirre",
    "himalayan_salt_on_a_spoon_by_karolina_grabowska",
    "salt-in-a-glass-container_by_karolina_grabowska",
    "4th_Of_July_Spectacular_by_Joshua_Peisach", "jeff_morgan__stub_stewart_iridium_flare__4k",
    "larung_gar_by_night_by_Geza_Radics",
}  # fmt: skip
_TEXTURES = {"brick", "grass", "gravel", "text"} | _RARE  # without objects
_RARE_ODDS, _SCENE_ODDS = 0.3, 3.0  # times the odds of another photo
_PASTED = 0.35  # the share of parts with shapes pasted on them
_LINED = 0.6  # the share of parts with lines, if lines are asked for
_NARROWEST_PX = 8  # of a pasted band; what is thinner looks like a scratch


class Contents:
    """Cuts square parts of `patch` pixels from photos.

    folders: of photos; without any, the free photos for training
    """

    def __init__(self, patch: int, folders: Sequence[Path] = ()) -> None:
        self.patch = patch
        named = _read_folders(folders) if folders else _read_free()
        self._photos, self._odds, self._scene_odds = _resize_all(named, patch)

    def cut(self, rng: np.random.Generator, *, lines: bool = False) -> Photo:
        """A random part with random colors; sometimes with parts of other photos pasted on it.

        lines: more of the parts show objects, many with lines on them
        """
        cut = self._cut_plain(rng, self._scene_odds if lines else self._odds)
        if lines and rng.uniform() < _LINED:
            for _ in range(1 + int(rng.poisson(1.0))):
                cut = self._paste_lined(cut, rng)
            return cut
        if rng.uniform() < _PASTED:
            for _ in range(1 + int(rng.poisson(1.5))):
                cut = self._paste(cut, rng)
        return cut

    def _cut_plain(self, rng: np.random.Generator, odds: Odds) -> Photo:
        photo = self._photos[int(rng.choice(len(self._photos), p=odds))]
        if rng.uniform() < 0.5:
            top = int(rng.integers(photo.shape[0] - self.patch + 1))
            left = int(rng.integers(photo.shape[1] - self.patch + 1))
            cut = photo[top : top + self.patch, left : left + self.patch]
            cut = np.rot90(cut, int(rng.integers(4)))
            cut = np.ascontiguousarray(cut[:, ::-1] if rng.uniform() < 0.5 else cut)
        else:
            cut = self._turn(photo, rng)
        return jitter_color(cut, rng) if rng.uniform() < 0.7 else cut

    def _turn(self, photo: Photo, rng: np.random.Generator) -> Photo:
        """A part turned by any angle, stretched and enlarged."""
        angle, scale = rng.uniform(0, 2 * np.pi), _LARGEST ** rng.uniform(0, 1)
        stretch = rng.uniform(0.85, 1.15)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn = turn * np.array([stretch, 1 / stretch]) / scale
        if rng.uniform() < 0.5:
            turn = turn[:, ::-1]
        size = np.array([photo.shape[1], photo.shape[0]])
        middle = size / 2 + rng.uniform(-0.5, 0.5, 2) * np.maximum(size - self.patch / scale, 0)
        shift = middle - turn @ np.full(2, self.patch / 2)
        matrix = np.concatenate((turn, shift[:, None]), 1)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        side = (self.patch, self.patch)
        turned = cv2.warpAffine(photo, matrix, side, flags=flags, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(turned, np.uint8)

    def _paste(self, picture: Photo, rng: np.random.Generator) -> Photo:
        """Paste a filled shape."""
        share = _draw_shape(self.patch, rng)
        return _join(picture, self._fill(rng), share)

    def _paste_lined(self, picture: Photo, rng: np.random.Generator) -> Photo:
        """A bar, or a shape with a rim, with lines on it, or with both."""
        kind = rng.uniform()
        if kind < 0.25:
            return draw_bar(picture, rng)
        share = _draw_shape(self.patch, rng)
        filling = np.rint(np.clip(self._fill(rng), 0, 255)).astype(np.uint8)
        if kind < 0.75:
            filling = draw_strokes(filling, rng)
        joined = _join(picture, filling.astype(np.float32), share)
        return draw_rim(joined, share, rng) if kind > 0.5 else joined

    def _fill(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A part of a photo, or one color that varies a little."""
        if rng.uniform() < 0.6:
            return self._cut_plain(rng, self._odds).astype(np.float32)
        low, high = rng.uniform(0, 255, 3), rng.normal(0, 25, 3)
        ramp = np.linspace(0, 1, self.patch)[:, None, None]
        return np.broadcast_to((low + high * ramp).astype(np.float32), (self.patch, self.patch, 3))


def _join(picture: Photo, filling: NDArray[np.float32], share: Plane) -> Photo:
    mixed = picture + (filling - picture) * share[..., None]
    return np.asarray(np.rint(np.clip(mixed, 0, 255)), np.uint8)


def _draw_shape(side: int, rng: np.random.Generator) -> Plane:
    """The coverage of a polygon, an ellipse or a band, (side, side)."""
    plane = np.zeros((side, side), np.uint8)
    kind = int(rng.integers(3))
    if kind == 0:
        middle = rng.uniform(0, side, 2)
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        reach = rng.uniform(0.1, 0.6) * side * rng.uniform(0.5, 1, len(angles))
        corners = middle + reach[:, None] * np.stack((np.cos(angles), np.sin(angles)), 1)
        fine = np.rint(corners * 16).astype(np.int32)
        cv2.fillPoly(plane, [fine], 255, cv2.LINE_AA, 4)
    elif kind == 1:
        center = tuple(rng.integers(0, side, 2).tolist())
        axes = tuple(rng.integers(_NARROWEST_PX, max(side // 2, _NARROWEST_PX + 1), 2).tolist())
        cv2.ellipse(plane, center, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    else:
        ends = [tuple(rng.integers(-side // 2, side * 3 // 2, 2).tolist()) for _ in range(2)]
        width = int(rng.integers(_NARROWEST_PX, max(side // 4, _NARROWEST_PX + 1)))
        cv2.line(plane, ends[0], ends[1], 255, width, cv2.LINE_AA)
    soft = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), rng.uniform(0.3, 1.2))
    return np.asarray(soft, np.float32) / np.float32(255)


def _read_free() -> dict[str, Photo]:
    return {entry.name: read_free_photo(entry) for entry in TRAINING}


def _read_folders(folders: Sequence[Path]) -> dict[str, Photo]:
    paths = [path for folder in folders for path in list_photos(folder)]
    return {path.stem: read_pixels(path) for path in paths}


def _resize_all(named: dict[str, Photo], patch: int) -> tuple[list[Photo], Odds, Odds]:
    """The photos in all sizes, the odds of each, and those that prefer scenes."""
    photos, odds, scene_odds = [], [], []
    for name, original in named.items():
        for size in _SIZES:
            photo = shrink_photo(original, size)
            if min(photo.shape[:2]) >= patch:
                photos.append(photo)
                odds.append((_RARE_ODDS if name in _RARE else 1.0) * size)
                scene_odds.append(odds[-1] * (1 if name in _TEXTURES else _SCENE_ODDS))
    return photos, np.array(odds) / sum(odds), np.array(scene_odds) / sum(scene_odds)
