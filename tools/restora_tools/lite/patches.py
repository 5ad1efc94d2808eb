"""Pairs of degraded and clean patches to train on, cut from the free photos.

Every batch depends on its number and the seed alone, so that a run can go on where it stopped.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from restora_calibration.degrade import (
    CLEAN_X2,
    MILD,
    SHRINK_FILTERS,
    Degradation,
    degrade_photo,
    draw_degradation,
)
from restora_calibration.photos import TRAINING, read_free_photo
from restora_training.data.augment import jitter_color

JPEG_BLOCK = 8  # patches are cut at a random offset, so that block borders fall anywhere

Photo = NDArray[np.uint8]


def make_pyramid(photos: list[Photo]) -> list[Photo]:
    """Add half- and 0.7-size versions: shrinking removes noise and JPEG marks of the originals."""
    versions = list(photos)
    for photo in photos:
        height, width = photo.shape[:2]
        for factor in (0.7, 0.5):
            size = (int(width * factor), int(height * factor))
            if min(size) >= 2 * 48 + 4 * JPEG_BLOCK:
                small = Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)
                versions.append(np.asarray(small))
    return versions


@dataclass(frozen=True, slots=True)
class Pair:
    """uint8 RGB, (patch, patch, 3) and (2 * patch, 2 * patch, 3); shrunk: and nothing else."""

    degraded: Photo
    clean: Photo
    shrunk: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs as tensors: NCHW in 0..1; shrunk: (n,) of 0 and 1."""

    degraded: Tensor
    clean: Tensor
    shrunk: Tensor


def cut_pair(
    photos: list[Photo], patch: int, rng: np.random.Generator, *, clean_share: float
) -> Pair:
    """A random place of a random photo, degraded, or with the odds `clean_share` only shrunk."""
    side = 2 * (patch + JPEG_BLOCK)
    fitting = [photo for photo in photos if min(photo.shape[:2]) >= side]
    weights = np.sqrt([photo.shape[0] * photo.shape[1] for photo in fitting])
    photo = fitting[rng.choice(len(fitting), p=weights / weights.sum())]
    top = int(rng.integers(photo.shape[0] - side + 1))
    left = int(rng.integers(photo.shape[1] - side + 1))
    clean = photo[top : top + side, left : left + side]
    clean = np.rot90(clean, int(rng.integers(4)))
    clean = np.ascontiguousarray(clean[:, ::-1] if rng.random() < 0.5 else clean)
    clean = jitter_color(clean, rng)
    shrunk = rng.random() < clean_share
    if shrunk:
        filter_ = SHRINK_FILTERS[int(rng.integers(len(SHRINK_FILTERS)))]
        how = Degradation(0, CLEAN_X2.shrink, 0, None, filter_)
    else:
        how = draw_degradation(MILD, rng)
    degraded = degrade_photo(clean, how, rng)
    y, x = (int(v) for v in rng.integers(JPEG_BLOCK, size=2))
    return Pair(
        degraded[y : y + patch, x : x + patch],
        clean[2 * y : 2 * (y + patch), 2 * x : 2 * (x + patch)],
        shrunk,
    )


def iter_batches(
    first: int, *, size: int, patch: int, seed: int, clean_share: Callable[[int], float]
) -> Iterator[Batch]:
    """Endless, from batch number `first` on; made ahead in a thread.

    clean_share  of a batch's number: how many of its patches are only shrunk, 0..1
    """
    photos = make_pyramid([read_free_photo(photo) for photo in TRAINING])
    ready: queue.Queue[Batch] = queue.Queue(maxsize=8)

    def tensor(pictures: list[Photo]) -> Tensor:
        stacked = np.stack(pictures).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(stacked)).float().div_(255)

    def produce() -> None:
        step = first
        while True:
            rng = np.random.default_rng([seed, step])
            share = clean_share(step)
            pairs = [cut_pair(photos, patch, rng, clean_share=share) for _ in range(size)]
            ready.put(
                Batch(
                    tensor([pair.degraded for pair in pairs]),
                    tensor([pair.clean for pair in pairs]),
                    torch.tensor([float(pair.shrunk) for pair in pairs]),
                )
            )
            step += 1

    threading.Thread(target=produce, daemon=True).start()
    while True:
        yield ready.get()
