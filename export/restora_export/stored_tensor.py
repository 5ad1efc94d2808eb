"""A tensor that still lies in its file: what the file claims of it, checked before it is read."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from restora.errors import CheckpointError

MAX_DIMENSIONS = 8
_MAX_SIDE = 1 << 31


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Shape and type of one tensor of a checkpoint file.

    shape: every side at least 1
    dtype: as stored
    bytes: what reading it takes from the file
    read: reads it: of this shape and dtype
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    bytes: int
    read: Callable[[], Tensor] = field(repr=False)

    def on_meta(self) -> Tensor:
        """Of this shape and type, without memory."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")


def check_shape(key: str, shape: object) -> tuple[int, ...]:
    """The shape as a tuple. Raises CheckpointError for what no weight can have."""
    if not isinstance(shape, list | tuple) or len(shape) > MAX_DIMENSIONS:
        raise CheckpointError(f"{key} must have a shape of at most {MAX_DIMENSIONS} sides")
    if not all(type(side) is int and 1 <= side <= _MAX_SIDE for side in shape):
        raise CheckpointError(f"each side of {key} must be 1 to {_MAX_SIDE}")
    return tuple(shape)
