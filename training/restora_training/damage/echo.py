"""Use every sample several times, turned and mixed with other samples (data echoing: Choi et al.,
arXiv:1907.05550).

A GPU trains several times as fast as 15 processes make samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from restora_training.damage.batches import Batch

KEPT = 8  # the newest batches, from which samples are taken


def iter_echoes(
    batches: Iterator[Batch], device: torch.device, *, times: int, first: int, seed: int
) -> Iterator[Batch]:
    """A batch for each of the steps first, first + 1 ... If times is 1, these are `batches`; else,
    `times` are taken from the newest of them, on the device, before the next one is needed.

    batches: begin with number `first_batch(first, times)`
    """
    if times == 1:
        yield from batches
        return
    kept: list[Tensor] = []
    ahead = first_batch(first, times)
    step = first
    for number, batch in enumerate(batches, ahead):
        _keep(kept, batch, device, number)
        filled = min(number + 1, KEPT) * len(batch.mask)
        while step // times <= number:
            rng = np.random.default_rng([seed, 3, step])
            chosen = rng.choice(filled, len(batch.mask), replace=False)
            index = torch.from_numpy(chosen).to(device)
            turns, flip = int(rng.integers(4)), bool(rng.uniform() < 0.5)
            yield Batch(*(_turn(plane[index], turns, flip=flip) for plane in kept))
            step += 1


def first_batch(step: int, times: int) -> int:
    """The number of the first batch that is needed for the samples of a step."""
    return step if times == 1 else max(0, step // times + 1 - KEPT)


def _keep(kept: list[Tensor], batch: Batch, device: torch.device, number: int) -> None:
    """Put the batch in the place of the oldest one."""
    planes = [getattr(batch, field.name) for field in fields(batch)]
    if not kept:
        kept += [
            torch.empty((KEPT * len(plane), *plane.shape[1:]), dtype=plane.dtype, device=device)
            for plane in planes
        ]
    start = number % KEPT * len(batch.mask)
    for place, plane in zip(kept, planes, strict=True):
        place[start : start + len(plane)] = plane.to(device)


def _turn(plane: Tensor, turns: int, *, flip: bool) -> Tensor:
    turned = torch.rot90(plane, turns, (2, 3))
    return turned.flip(3) if flip else turned
