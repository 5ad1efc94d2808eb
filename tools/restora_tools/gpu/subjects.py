"""What is built and measured: the networks, their tiles and batches."""

from __future__ import annotations

from dataclasses import dataclass

from restora.backends import PlanOptions
from restora_benchmarks.networks import NETWORKS, Network
from restora_benchmarks.networks import TINY as TINY_NETWORK


@dataclass(frozen=True, slots=True)
class Subject:
    """One network.

    side   of a tile or a face, in input pixels
    batch  of those at once
    """

    network: Network
    side: int = 256
    batch: int = 4
    max_tile: int = 512

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def is_face(self) -> bool:
        return self.network.kind == "face"

    @property
    def plans(self) -> PlanOptions:
        return PlanOptions(tile=self.side, batches=(self.batch,), max_tile=self.max_tile)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.side, self.side, 3)


SUBJECTS = tuple(
    Subject(network, side=512, batch=8) if network.kind == "face" else Subject(network)
    for network in NETWORKS
)
# for tests and for trying the commands out
TINY = (Subject(TINY_NETWORK, side=32, batch=2, max_tile=64),)


def choose_subjects(names: str) -> tuple[Subject, ...]:
    """Those of a list with commas, or all for "all". Raises SystemExit for an unknown name."""
    known = {subject.name: subject for subject in (*SUBJECTS, *TINY)}
    if names == "all":
        return SUBJECTS
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise SystemExit(f"unknown subjects: {', '.join(unknown)}; known: {', '.join(known)}")
    return tuple(known[name] for name in names.split(","))
