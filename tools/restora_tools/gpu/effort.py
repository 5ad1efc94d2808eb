"""How long each figure is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """repeats: times that a measurement is taken; the ways that are compared take turns
    runs: of a network in one repeat
    seconds: of the photos of one size; NVML averages its figures over up to a second
    """

    repeats: int = 7
    runs: int = 20
    seconds: float = 8.0


FULL = Effort()
QUICK = Effort(repeats=1, runs=1, seconds=0)  # tries the commands out; no figure to publish
