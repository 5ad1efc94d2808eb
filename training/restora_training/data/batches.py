"""Batches of samples, prepared in threads while the networks train."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from restora_training.data.samples import Sample, SampleMaker

_AHEAD = 4  # batches


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one process, stacked; fields as in Sample, with a batch dimension."""

    degraded: Tensor
    clean: Tensor
    sharp: Tensor
    boxes: Mapping[str, Tensor]
    shrunk: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; the boxes stay where they are, their numbers are read."""
        if device.type == "cpu":
            return self
        degraded, clean = self.degraded.to(device), self.clean.to(device)
        sharp = clean if self.sharp is self.clean else self.sharp.to(device)
        return Batch(degraded, clean, sharp, self.boxes, self.shrunk.to(device))


class BatchSource:
    """Makes the batches of one process.

    batch: of all processes together, a multiple of `processes`
    process: index of this process
    waited_s: time that the training has waited for batches so far
    """

    def __init__(
        self,
        maker: SampleMaker,
        *,
        batch: int,
        process: int = 0,
        processes: int = 1,
        workers: int = 1,
    ) -> None:
        assert batch % processes == 0
        self.maker = maker
        self.places = range(batch)[
            process * batch // processes : (process + 1) * batch // processes
        ]
        self.workers = workers
        self.waited_s = 0.0

    @contextmanager
    def open(self, first: int, end: int) -> Iterator[Iterator[Batch]]:
        """Iterate over the batches of the steps first..end - 1; close to stop the threads."""
        with ThreadPoolExecutor(
            self.workers,
            thread_name_prefix="batches",
            # of this thread; all cores together are for the networks
            initializer=torch.set_num_threads,
            initargs=(1,),
        ) as pool:
            try:
                yield self._iterate(pool, first, end)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _iterate(self, pool: ThreadPoolExecutor, first: int, end: int) -> Iterator[Batch]:
        waiting: deque[list[Future[Sample]]] = deque()
        step = first
        while step < end or waiting:
            while step < end and len(waiting) < _AHEAD:
                waiting.append([pool.submit(self.maker.make, step, i) for i in self.places])
                step += 1
            started = time.perf_counter()
            samples = [future.result() for future in waiting.popleft()]
            self.waited_s += time.perf_counter() - started
            yield stack_samples(samples)


def stack_samples(samples: Sequence[Sample]) -> Batch:
    """Stack samples of equal shapes."""
    clean = torch.stack([sample.clean for sample in samples])
    same = all(sample.sharp is sample.clean for sample in samples)
    return Batch(
        torch.stack([sample.degraded for sample in samples]),
        clean,
        clean if same else torch.stack([sample.sharp for sample in samples]),
        {
            name: torch.from_numpy(np.stack([sample.boxes[name] for sample in samples]))
            for name in samples[0].boxes
        },
        torch.tensor([float(sample.shrunk) for sample in samples]),
    )
