"""Learning rates by iteration."""

import math
from bisect import bisect_left
from collections.abc import Sequence


def multistep_factor(
    iteration: int, milestones: Sequence[int], *, gamma: float = 0.5, warmup: int = 0
) -> float:
    """The factor on the learning rate during an iteration, for torch's LambdaLR.

    iteration: counts from 1
    milestones: sorted; the rate falls in the iteration after each of them, and twice after one that
        is listed twice
    gamma: the factor of each fall
    warmup: the rate rises linearly over so many iterations. As in the published code it stays at
        (warmup - 1) / warmup of the full rate afterward
    """
    rise = min(iteration, warmup - 1) / warmup if warmup > 1 else 1.0
    return rise * gamma ** bisect_left(milestones, iteration)


def cosine_factor(done: int, steps: int, *, warmup: int = 0, last: float = 0.0) -> float:
    """The factor on the learning rate after `done` steps of `steps`: a linear rise, then half a
    cosine down to `last`."""
    if done < warmup:
        return (done + 1) / warmup
    progress = min(1.0, (done - warmup) / max(1, steps - warmup))
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * progress))
