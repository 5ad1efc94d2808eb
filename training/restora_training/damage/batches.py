"""Batches of samples as tensors, made in worker processes while a network trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from restora_training.damage.plan import Plan
from restora_training.damage.samples import PatchSource, Sample
from restora_training.damage.thin import stack_thin, stack_weights


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples, (count, channels, height, width): colors and masks in 0..1 after `to`, uint8 and
    bool before.

    thin: what is thin in the pictures, two channels
    weights: what the pixels of the masks weigh
    The others are as in Sample.
    """

    clean: Tensor
    picture: Tensor
    mask: Tensor
    asked: Tensor
    hidden: Tensor
    thin: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch in floats on a device."""
        return Batch(*(_to_float(getattr(self, f.name).to(device)) for f in fields(self)))


def stack_samples(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size."""
    pictures = [sample.picture for sample in samples]
    masks = [sample.mask for sample in samples]
    return Batch(
        _stack([sample.clean for sample in samples]),
        _stack(pictures),
        _stack(masks),
        _stack([sample.asked for sample in samples]),
        _stack([sample.hidden for sample in samples]),
        torch.from_numpy(stack_thin(pictures)),
        torch.from_numpy(stack_weights(masks)),
    )


def make_source(plan: Plan, photos: Sequence[Path]) -> PatchSource:
    return PatchSource(
        plan.patch, seed=plan.seed, defects=plan.defects, drawn=plan.drawn, photos=photos
    )


def iter_batches(
    plan: Plan, photos: Sequence[Path], first: int, *, workers: int = 0
) -> Iterator[Batch]:
    """The batches number `first` and after, in order. Each is enough for plan.echo steps.

    photos: folders, as in PatchSource
    workers: processes that make them ahead, the same ones; 0: they are made when they are needed.
        Each worker draws and keeps all defects: 0.2 MB for each of 384 pixels
    """
    return iter(
        DataLoader(
            _Batches(plan, photos),
            batch_size=None,
            sampler=range(first, -(-plan.steps // plan.echo)),
            num_workers=workers,
            # a fork would inherit the locks of OpenCV's threads
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_use_one_core if workers else None,
        )
    )


class _Batches(Dataset[Batch]):
    """The batches of a plan."""

    def __init__(self, plan: Plan, photos: Sequence[Path]) -> None:
        self.plan, self.photos = plan, photos

    @cached_property
    def source(self) -> PatchSource:
        """Made in the process that needs it."""
        return make_source(self.plan, self.photos)

    def __getitem__(self, number: int) -> Batch:
        calm = self.plan.is_calm(number * self.plan.echo)
        samples = self.source.make_batch(
            number,
            self.plan.batch,
            for_repair=self.plan.part == "repairer",
            clean=0.5 if calm else 0.2,
            lines=calm,
        )
        return stack_samples(samples)


def _use_one_core(_worker: int) -> None:
    cv2.setNumThreads(1)


def _stack(pictures: Sequence[NDArray[np.generic]]) -> Tensor:
    planes = torch.from_numpy(np.stack(pictures))
    if planes.ndim == 3:  # masks
        return planes[:, None]
    return planes.permute(0, 3, 1, 2)  # in memory, channels stay last, as convolutions want them


def _to_float(values: Tensor) -> Tensor:
    return values.float() / 255 if values.dtype == torch.uint8 else values.float()
