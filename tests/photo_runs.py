"""What tests of runs over photos share: a photo in a file, and progress that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from restora.image import Photo, write_photo
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.jobs.progress import NoProgress
from restora.networks import OpenNetwork


def photo(path: Path, size: tuple[int, int] = (10, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    write_photo(Photo(pixels), path)
    return path


class Reports(NoProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, ...]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.parts: list[tuple[str, int, int]] = []

    def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
        self.begun.append(tuple(network.info.model for network in networks))

    def update(self, job: Job, done: int, total: int) -> None:
        self.parts.append((job.source.name, done, total))

    def end(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.source.name] = outcome
