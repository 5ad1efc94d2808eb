"""Tensors in a file that are checked before they are read."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from restora.errors import CheckpointError

MAX_DIMENSIONS = 8
_MAX_SIDE = 1 << 31


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a checkpoint file that has not been read yet.

    shape: its shape; every dimension is at least 1
    dtype: its dtype in the file
    bytes: the number of bytes in the file
    read: reads the tensor
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    bytes: int
    read: Callable[[], Tensor] = field(repr=False)

    def on_meta(self) -> Tensor:
        """A tensor of this shape and dtype on the meta device, without memory."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")


def check_shape(key: str, shape: object) -> tuple[int, ...]:
    """The shape as a tuple. Raises CheckpointError for an impossible shape."""
    if not isinstance(shape, list | tuple) or len(shape) > MAX_DIMENSIONS:
        raise CheckpointError(f"{key} must have at most {MAX_DIMENSIONS} dimensions")
    if not all(type(side) is int and 1 <= side <= _MAX_SIDE for side in shape):
        raise CheckpointError(f"each dimension of {key} must be 1 to {_MAX_SIDE}")
    return tuple(shape)
