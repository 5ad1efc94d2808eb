"""Using samples several times: how often, how they are turned, and where a run continues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice

import pytest
import torch

from restora_training.damage.batches import Batch, iter_batches
from restora_training.damage.echo import KEPT, first_batch, iter_echoes
from restora_training.damage.plan import Plan

CPU = torch.device("cpu")
COUNT = 6  # samples of a batch


def make_batch(number: int) -> Batch:
    """Samples whose values tell the batch, and whose planes show how they are turned."""
    ramp = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(COUNT, 1, 1, 1)
    return Batch(*(ramp + 16 * (COUNT * number + torch.arange(COUNT)[:, None, None, None])
                   for _ in fields(Batch)))  # fmt: skip


def echoes(times: int, first: int = 0, *, seed: int = 3) -> Iterator[Batch]:
    source = (make_batch(number) for number in range(first_batch(first, times), 60))
    return iter_echoes(source, CPU, times=times, first=first, seed=seed)


def samples_of(batch: Batch) -> list[int]:
    """Which samples of all batches these are."""
    return (batch.mask.amin((1, 2, 3)) / 16).int().tolist()


def test_samples_that_are_used_once_are_the_batches_themselves() -> None:
    for number, batch in enumerate(islice(echoes(1, 5), 4), 5):
        assert torch.equal(batch.mask, make_batch(number).mask)


def test_each_sample_is_used_as_often_as_is_asked_on_average_but_never_twice_in_a_step() -> None:
    used: Counter[int] = Counter()
    for batch in islice(echoes(3), 150):
        assert len(set(samples_of(batch))) == COUNT
        used.update(samples_of(batch))
    middle = [used[sample] for sample in range(KEPT * COUNT, 40 * COUNT)]
    assert sum(middle) / len(middle) == pytest.approx(3, rel=0.1)


def test_samples_come_from_the_newest_batches() -> None:
    for step, batch in enumerate(islice(echoes(2), 60)):
        numbers = {sample // COUNT for sample in samples_of(batch)}
        assert max(numbers) <= step // 2
        assert min(numbers) > step // 2 - KEPT


def test_all_planes_of_a_sample_are_turned_alike_and_in_all_eight_ways() -> None:
    seen = set()
    for batch in islice(echoes(2), 80):
        planes = [getattr(batch, field.name) for field in fields(batch)]
        assert all(torch.equal(plane, planes[0]) for plane in planes)
        turned = planes[0][0, 0] - planes[0][0, 0].min()
        seen.add(tuple(turned.flatten().int().tolist()))
    assert len(seen) == 8


@pytest.mark.parametrize("first", [1, 7, 41])
def test_a_run_continues_with_the_batches_that_it_would_have_had(first: int) -> None:
    whole = list(islice(echoes(2), first + 3))[first:]
    for one, same in zip(whole, echoes(2, first), strict=False):
        assert torch.equal(one.picture, same.picture)
    other = next(echoes(2, first, seed=4))
    assert not torch.equal(whole[0].picture, other.picture)


def test_a_plan_makes_as_many_batches_as_its_steps_need(monkeypatch: pytest.MonkeyPatch) -> None:
    place = "restora_training.damage.batches._Batches.__getitem__"
    monkeypatch.setattr(place, lambda _self, number: number)
    made: list[object] = list(iter_batches(Plan("detector", steps=7, echo=3), [], 1))
    assert made == [1, 2]
