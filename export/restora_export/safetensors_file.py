"""Read safetensors files tensor by tensor. The library validates their header."""

import os
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from restora.errors import CheckpointError
from restora_export.stored_tensor import StoredTensor, check_shape

_MAX_HEADER_BYTES = 4 << 20  # the library would accept 100 MB
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_DAMAGED = "it is not a safetensors file, or a damaged one"


def open_safetensors(stream: BinaryIO, path: Path) -> dict[str, StoredTensor]:
    """Open the tensors of the file at `path`, which `stream` reads. Raises CheckpointError."""
    stream.seek(0)
    length = int.from_bytes(stream.read(8), "little")
    if length > min(_MAX_HEADER_BYTES, _identity(stream.fileno())[2]):
        raise CheckpointError(f"{_DAMAGED}: its header would have {length} bytes")
    try:
        file: Any = safe_open(path, framework="pt")
        if _identity(path) != _identity(stream.fileno()):  # the library opens files by path only
            raise CheckpointError("the file was replaced while it was read")
        return {key: _stored(file, key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(_DAMAGED) from error


def _stored(file: Any, key: str) -> StoredTensor:
    view = file.get_slice(key)
    name = view.get_dtype()
    if name not in _DTYPES:
        raise CheckpointError(f"{key} has the type {name}, which no supported network uses")
    shape, dtype = check_shape(key, view.get_shape()), _DTYPES[name]

    def read() -> Tensor:
        try:
            tensor: Tensor = file.get_tensor(key)
        except (SafetensorError, ValueError) as error:
            raise CheckpointError(_DAMAGED) from error
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            raise CheckpointError(_DAMAGED)
        return tensor

    size = dtype.itemsize
    for side in shape:
        size *= side
    return StoredTensor(shape, dtype, size, read)


def _identity(file: Path | int) -> tuple[int, int, int]:
    status = os.stat(file)  # noqa: PTH116  # of a descriptor too
    return status.st_dev, status.st_ino, status.st_size
