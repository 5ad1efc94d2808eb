"""Batches that are prepared in threads."""

import torch

from restora_training.data.batches import BatchSource
from restora_training.data.samples import Sample


class Numbers:
    """Samples whose value says which one they are; it notes what threads they are made with."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def make(self, step: int, index: int) -> Sample:
        self.threads.add(torch.get_num_threads())
        values = torch.full((3, 2, 2), 10.0 * step + index)
        return Sample(values, values, values, {})


def numbers_of(source: BatchSource, first: int, end: int) -> list[list[float]]:
    with source.open(first, end) as batches:
        return [batch.clean[:, 0, 0, 0].tolist() for batch in batches]


def test_batches_come_in_the_order_of_the_steps() -> None:
    source = BatchSource(Numbers(), batch=2, workers=3)
    assert numbers_of(source, 5, 12) == [[10.0 * step, 10.0 * step + 1] for step in range(5, 12)]


def test_each_process_makes_its_own_places_of_the_batch() -> None:
    source = BatchSource(Numbers(), batch=4, process=1, processes=2)
    assert numbers_of(source, 1, 2) == [[12.0, 13.0]]


def test_preparing_batches_takes_one_core_for_each_worker_and_none_from_the_networks() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        numbers = Numbers()
        numbers_of(BatchSource(numbers, batch=1, workers=2), 0, 4)
        assert numbers.threads == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
