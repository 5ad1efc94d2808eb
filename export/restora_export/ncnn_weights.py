"""Read the weights of ncnn networks, NAME.bin: one array after the other, without names or sizes.

Format: ncnn's ModelBinFromDataReader, github.com/Tencent/ncnn/blob/master/src/modelbin.cpp. Weights
of convolutions begin with a tag that tells their type; everything else is FP32.
"""

import os
from dataclasses import dataclass
from typing import BinaryIO

import torch
from torch import Tensor

from restora.errors import CheckpointError
from restora_export.stored_tensor import StoredTensor

_FP32_TAGS = (0, 0x0002C056)
_TYPES = {0x01306B47: torch.float16, 0x000D4B38: torch.int8}
_ALIGNMENT = 4


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array in the file. shape: not yet that of the tensor"""

    start: int
    count: int
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        return self.count * self.dtype.itemsize


class WeightsFile:
    """Takes arrays from the file in their order. Only their places are read at first.

    stream: a regular file, which must stay open as long as tensors are read
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = os.fstat(stream.fileno()).st_size
        self._position = 0

    def take(self, count: int, *, of: str) -> Numbers:
        """The next `count` numbers in FP32. `of`: the layer, for messages.

        Raises CheckpointError if the file ends before.
        """
        return self._take(count, torch.float32, of)

    def take_tagged(self, count: int, *, of: str) -> Numbers:
        """A tag and the next `count` numbers of its type: FP32, FP16 or int8."""
        tag = int.from_bytes(self._read(self._take(4, torch.uint8, of)), "little")
        if tag not in _FP32_TAGS and tag not in _TYPES:
            raise CheckpointError(
                f"{of}: weights must be FP32, FP16 or int8; the tag {tag:#010x} is none of them"
            )
        return self._take(count, _TYPES.get(tag, torch.float32), of)

    def check_end(self) -> None:
        """Raise CheckpointError if bytes are left, which no layer owns."""
        if self._position != self._size:
            raise CheckpointError(
                f"its layers have {self._position} bytes of weights, the .bin file has {self._size}"
            )

    def stored(
        self, numbers: Numbers, shape: tuple[int, ...], scales: Numbers | None = None
    ) -> StoredTensor:
        """The array as a tensor of FP32 or FP16.

        scales: of int8 weights, one for each output channel: what a weight was multiplied with
        """

        def read() -> Tensor:
            values = self._values(numbers).view(shape)
            if scales is None:
                return values
            return values.float() / self._values(scales).view(-1, *[1] * (len(shape) - 1))

        dtype = torch.float32 if scales is not None else numbers.dtype
        return StoredTensor(shape, dtype, numbers.bytes, read)

    def _take(self, count: int, dtype: torch.dtype, of: str) -> Numbers:
        found = Numbers(self._position, count, dtype)
        end = self._position + found.bytes
        padded = end + -end % _ALIGNMENT
        if padded > self._size:
            raise CheckpointError(
                f"{of}: the .bin file must have {padded} bytes or more, it has {self._size}"
            )
        self._position = padded
        return found

    def _values(self, numbers: Numbers) -> Tensor:
        return torch.frombuffer(self._read(numbers), dtype=numbers.dtype)

    def _read(self, numbers: Numbers) -> bytearray:
        data = bytearray(numbers.bytes)
        self._stream.seek(numbers.start)
        if self._stream.readinto(data) != numbers.bytes:  # type: ignore[attr-defined]
            raise CheckpointError("the .bin file is truncated")
        return data
