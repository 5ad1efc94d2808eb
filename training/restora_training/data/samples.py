"""One degraded and clean patch, or face, made from a seed and its number alone.

So a run can continue at any step, and the number of processes and threads changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restora_calibration.degrade import (
    FACES,
    MILD,
    SHRINK_FILTERS,
    Degradation,
    DegradationRange,
    degrade_photo,
    draw_degradation,
)
from restora_training.data.augment import jitter_color, shrink_photo
from restora_training.data.photos import Photo, PhotoSet
from restora_training.degradations.filters import sharpen_batch
from restora_training.degradations.noise import SeededNoise
from restora_training.degradations.second_order import (
    SecondOrderRange,
    crop_pairs,
    degrade_batch,
    draw_second_order,
)
from restora_training.recipe_parts import DegradationPart

_JPEG_BLOCK = 8  # patches are cut at a random offset, so that block borders fall anywhere
_SMALLEST_SOURCE = 96  # the second-order blur needs more than 10 pixels after shrinking to 0.15


@dataclass(frozen=True, slots=True)
class Sample:
    """One training example, without a batch dimension.

    degraded: float32 (3, height, width); clean: (3, scale * height, scale * width)
    sharp: the sharpened target; the clean one where the recipe does not sharpen
    boxes: of a face's components
    shrunk: it is downsampled and nothing else
    """

    degraded: Tensor
    clean: Tensor
    sharp: Tensor
    boxes: Mapping[str, NDArray[np.float32]]
    shrunk: bool = False


class SampleMaker(Protocol):
    def make(self, step: int, index: int) -> Sample:
        """Make the sample of this step (from 0) and place in the batch of all processes."""
        ...


class PatchMaker:
    """Cuts patches out of photos and degrades them.

    scale: of the network
    patch: side of the clean patch, a multiple of the scale
    flip, rotate, jitter, shrink: as in a recipe's data
    """

    def __init__(
        self,
        photos: PhotoSet,
        degradation: DegradationPart,
        *,
        scale: int,
        patch: int,
        seed: int,
        flip: bool = True,
        rotate: bool = False,
        jitter: bool = False,
        shrink: Sequence[float] = (1.0,),
    ) -> None:
        self.photos, self.degradation = photos, degradation
        self.jitter, self.shrink = jitter, tuple(shrink)
        self.scale, self.patch, self.seed = scale, patch, seed
        self.flip, self.rotate = flip, rotate

    @property
    def source_side(self) -> int:
        return source_side(self.patch, self.scale)

    def make(self, step: int, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, step, index])
        photo = self.photos[self.photos.draw(step, rng)]
        source = self._cut(photo, rng)
        if self.jitter:
            source = jitter_color(source, rng)
        kind = self._kind_of(float(rng.uniform()))
        if kind == "second_order":
            return self._make_second_order(source, rng)
        how = self._draw_simple(kind, rng)
        degraded = degrade_photo(source, how, rng)
        small = tensor_of(degraded)
        clean = tensor_of(source)
        return self._crop(small, clean, clean, rng, shrunk=kind == "shrink")

    def _make_second_order(self, source: Photo, rng: np.random.Generator) -> Sample:
        clean = tensor_of(source)[None]
        sharp = sharpen_batch(clean) if self.degradation.sharpen else clean
        how = draw_second_order(SecondOrderRange(), 1, rng)
        noise = SeededNoise(int(rng.integers(1 << 62)))
        degraded = degrade_batch(sharp, how, scale=self.scale, source=noise)
        return self._crop(degraded[0], clean[0], sharp[0], rng)

    def _kind_of(self, drawn: float) -> str:
        """drawn: 0..1; the smallest values are of patches that are only downsampled."""
        part = self.degradation
        if drawn < part.clean_share:
            return "shrink"
        return "some_mild" if drawn < part.clean_share + part.mild_share else part.kind

    def _draw_simple(self, kind: str, rng: np.random.Generator) -> Degradation:
        if kind == "shrink":
            chosen = SHRINK_FILTERS[int(rng.integers(len(SHRINK_FILTERS)))]
            return Degradation(0, self.scale, 0, None, chosen)
        part, shrink = self.degradation, (self.scale, self.scale)
        ranges = FACES if kind == "paper" else MILD
        sigma, noise, quality = ranges.sigma, ranges.noise, ranges.quality
        if kind != "some_mild":
            sigma, noise = part.sigma or sigma, part.noise or noise
            quality = part.quality or quality
        return draw_degradation(DegradationRange(sigma, shrink, noise, quality), rng)

    def _cut(self, photo: Photo, rng: np.random.Generator) -> Photo:
        wanted, shortest = self.source_side, min(photo.shape[:2])
        fitting = [f for f in self.shrink if math.ceil(wanted / f) <= shortest] or [1.0]
        factor = fitting[int(rng.integers(len(fitting)))]
        side = math.ceil(wanted / factor)
        top = int(rng.integers(photo.shape[0] - side + 1))
        left = int(rng.integers(photo.shape[1] - side + 1))
        patch = photo[top : top + side, left : left + side]
        if side != wanted:
            patch = shrink_photo(patch, wanted / side)
        if self.rotate:
            patch = np.rot90(patch, int(rng.integers(4)))
        if self.flip and rng.uniform() < 0.5:
            patch = patch[:, ::-1]
        return np.ascontiguousarray(patch)

    def _crop(
        self,
        small: Tensor,
        clean: Tensor,
        sharp: Tensor,
        rng: np.random.Generator,
        *,
        shrunk: bool = False,
    ) -> Sample:
        side = self.patch // self.scale
        top, left = (int(rng.integers(size - side + 1)) for size in small.shape[1:])
        place = {"top": top, "left": left, "side": side, "scale": self.scale}
        cut_small, cut_clean = crop_pairs(small[None], clean[None], **place)
        cut_sharp = (
            cut_clean if sharp is clean else crop_pairs(small[None], sharp[None], **place)[1]
        )
        return Sample(cut_small[0], cut_clean[0], cut_sharp[0], {}, shrunk)


def source_side(patch: int, scale: int) -> int:
    """Side of the piece of a photo that a patch is cut from."""
    return max(patch + _JPEG_BLOCK * scale, _SMALLEST_SOURCE)


def tensor_of(photo: Photo) -> Tensor:
    """float32 (3, height, width), 0..1."""
    return torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1))).float() / 255
