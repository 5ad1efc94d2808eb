"""How the damage networks are trained from the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Part = Literal["detector", "repairer"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train.

    steps: the learning rate falls to nothing over so many
    patch: in pixels, a multiple of 32
    defects, drawn: how many are drawn ahead, on pictures of so many pixels a side
    warmup: steps until the full rate
    echo: how often each sample is used; more than once pays off where a network trains faster than
        samples are made
    calm: the last share of the steps, in which a detector learns how rare damage is: many patches
        are clean, and each pixel counts once. Before, damage counts more, or nothing would be found
    """

    part: Part
    steps: int
    patch: int = 128
    batch: int = 4
    rate: float = 2e-3
    warmup: int = 300
    ema: float = 0.999
    echo: int = 1
    calm: float = 0.75
    defects: int = 2500
    drawn: int = 384
    seed: int = 20261126

    def is_calm(self, step: int) -> bool:
        return step >= self.steps * (1 - self.calm)


PLANS: Mapping[Part, Plan] = {
    "detector": Plan("detector", steps=50000, patch=192),
    # patches that hold more than the rim of a large hole
    "repairer": Plan("repairer", steps=16000, patch=256, batch=2, rate=1e-3, drawn=640),
}
