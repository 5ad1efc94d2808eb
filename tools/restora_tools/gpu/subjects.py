"""What is built and measured: the networks, their tiles, batches and photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from restora_benchmarks.networks import NETWORKS, Network
from restora_benchmarks.networks import TINY as TINY_NETWORK

if TYPE_CHECKING:
    from restora.artifact import Precision

PHOTO_SIZES = ((1920, 1080), (4000, 3000), (3001, 2003))


@dataclass(frozen=True, slots=True)
class Subject:
    """One network.

    side: of a tile or a face, in input pixels
    batch: number of those in one run
    max_tile: the largest side that the plan for all sizes accepts; None for what the memory of the
        GPU allows
    sweep: (batch, side) of further plans for one shape
    photos: (width, height) of the photos that are restored end to end
    """

    network: Network
    side: int = 512
    batch: int = 1
    max_tile: int | None = None
    sweep: tuple[tuple[int, int], ...] = ()
    photos: tuple[tuple[int, int], ...] = PHOTO_SIZES

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def is_face(self) -> bool:
        return self.network.kind == "face"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The input of one run, (batch, height, width, 3)."""
        return (self.batch, self.side, self.side, 3)

    @property
    def overlap_px(self) -> int:
        """Overlap of tiles in the checks."""
        return 32 if self.side > 64 else 8

    def precisions(self) -> tuple[Precision, ...]:
        """Those that are measured: INT8 only for the bundled network, which ships in it."""
        if self.is_face or self.name != "restora-lite-x2":
            return ("fp16", "fp32")
        return ("fp16", "fp32", "int8")


_SWEEP = (
    *((batch, 256) for batch in (1, 2, 4, 8)),
    *((batch, 384) for batch in (1, 2, 4)),
    (2, 512),
    (1, 768),
    (1, 1024),
)


def _subject(network: Network) -> Subject:
    if network.kind == "face":
        return Subject(network, side=512, batch=8, max_tile=512, photos=())
    return Subject(network, sweep=_SWEEP)


SUBJECTS = {network.name: _subject(network) for network in NETWORKS}
# for tests and for trying the commands out
TINY = Subject(
    TINY_NETWORK, side=32, batch=2, max_tile=64, sweep=((1, 48), (3, 32)), photos=((150, 130),)
)


def find_subject(name: str) -> Subject:
    """Raises LookupError for an unknown name."""
    if name == TINY.name:
        return TINY
    if name not in SUBJECTS:
        raise LookupError(f"unknown network {name!r}; known: {', '.join((TINY.name, *SUBJECTS))}")
    return SUBJECTS[name]
