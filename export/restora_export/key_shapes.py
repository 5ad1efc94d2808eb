"""Read bounded numbers and sizes from the keys and shapes of a state dict."""

import re
from collections.abc import Collection, Mapping
from typing import TypeAlias

from torch import Tensor

from restora.errors import CheckpointError
from restora.models.regular_file import shown

State: TypeAlias = dict[str, Tensor]

MAX_KEYS = 10_000
MAX_CHANNELS = 4096
_MAX_NUMBERED = 256  # blocks or layers; published networks have up to 69


def shape_of(
    state: Mapping[str, Tensor], key: str, dimensions: int, *, maximum: int = MAX_CHANNELS
) -> tuple[int, ...]:
    """The shape of a tensor. Raises CheckpointError if the tensor is missing, or if it has another
    number of dimensions or one outside 1..maximum."""
    if key not in state:
        raise CheckpointError(f"it lacks {key}")
    shape = tuple(state[key].shape)
    if len(shape) != dimensions or not all(1 <= side <= maximum for side in shape):
        raise CheckpointError(
            f"{key} must have {dimensions} dimensions of 1 to {maximum}, its shape is {shape}"
        )
    return shape


def count_numbered(keys: Collection[str], pattern: str) -> int:
    """One more than the largest number that the group of the pattern matches, or 0.

    Raises CheckpointError for a number that is too large, or if more than half of the numbers are
    missing: at most every other layer has no weights.
    """
    numbers = set()
    for key in keys:
        if match := re.match(pattern, key):
            digits = match[1]
            if len(digits) > 4 or int(digits) >= _MAX_NUMBERED:
                raise CheckpointError(
                    f"{shown(key)[:60]} must be numbered below {_MAX_NUMBERED}; no network has so "
                    "many layers"
                )
            numbers.add(int(digits))
    count = 1 + max(numbers, default=-1)
    if count > 2 * len(numbers):
        raise CheckpointError(f"its keys have {count} layers, only {len(numbers)} of them exist")
    return count
