"""Read PyTorch files tensor by tensor: zip archives, and the format before PyTorch 1.6.

A tensor is read only when it is requested, and only its own bytes.
"""

import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor

from restora.errors import CheckpointError
from restora.models.regular_file import shown
from restora_export.pickled_tensors import MAX_PICKLE_BYTES, PickledTensor, Storage, read_pickle
from restora_export.stored_tensor import StoredTensor, check_shape

_MAX_DIRECTORY_BYTES = 4 << 20  # enough for 80,000 parts; the largest network has 702
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field
_OLD_MAGIC, _OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of a storage in the file. crc: checksum of all its bytes, if the file has one."""

    start: int
    size: int
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class TorchFile:
    """An open PyTorch file.

    content: the saved object, with a PickledTensor for each tensor
    """

    content: Any
    _stream: BinaryIO
    _find: Callable[[str], _Place]

    def stored(self, key: str, tensor: PickledTensor) -> StoredTensor:
        """Check a tensor against the file. `key` is its name for messages.

        Raises CheckpointError if it is not a contiguous view of numbers in the file.
        """
        storage = tensor.storage
        if not isinstance(storage, Storage):
            raise CheckpointError(f"{key} has no storage")
        shape, strides = check_shape(key, tensor.shape), _check_strides(key, tensor)
        reach = 1 + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
        if math.prod(shape) > reach:
            raise CheckpointError(
                f"{key} must store every element; its strides {strides} repeat some: save it with "
                ".contiguous()"
            )
        offset = tensor.offset
        if type(offset) is not int or not 0 <= offset <= storage.count - reach:
            raise CheckpointError(f"{key} extends past its storage of {storage.count} numbers")
        place, item = self._find(storage.key), storage.dtype.itemsize
        if storage.count * item > place.size:
            raise CheckpointError(
                f"{key} needs a storage of {storage.count * item} bytes, the file has {place.size}"
            )
        part = _Place(
            place.start + offset * item,
            reach * item,
            place.crc if reach * item == place.size else None,
        )

        def read() -> Tensor:
            numbers = torch.frombuffer(_read(self._stream, part), dtype=storage.dtype)
            return numbers.as_strided(shape, strides)

        return StoredTensor(shape, storage.dtype, part.size, read)


def open_torch_file(stream: BinaryIO) -> TorchFile:
    """Read the contents of a file, except for its tensors.

    stream: a regular file, which must stay open as long as tensors are read

    Raises CheckpointError.
    """
    stream.seek(0)
    start = stream.read(4)
    if start == b"PK\x03\x04":
        return _open_zip(stream)
    if start[:2] == b"\x80\x02":
        return _open_old(stream)
    raise CheckpointError("it is not a PyTorch checkpoint, or a damaged one")


def _open_zip(stream: BinaryIO) -> TorchFile:
    try:
        with zipfile.ZipFile(_BoundedReads(stream)) as archive:
            members = {info.filename: info for info in archive.infolist()}
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        ValueError,
        IndexError,
        OverflowError,
        struct.error,
        OSError,
    ) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError("it is not a PyTorch checkpoint, or a damaged one") from error
    _check_members(members, _size_of(stream))
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise CheckpointError("it is a zip archive, but torch.save did not write it")
    prefix = pickles[0].removesuffix("data.pkl")

    def find(name: str) -> _Place:
        if prefix + name not in members:
            raise CheckpointError(f"it lacks its part {shown(name)}")
        return _place_of(stream, members[prefix + name])

    if prefix + "byteorder" in members:
        _check_byte_order(_read(stream, find("byteorder")) == b"little")
    pickle = find("data.pkl")
    if pickle.size > MAX_PICKLE_BYTES:
        raise CheckpointError(f"its pickle has {pickle.size} bytes, more than {MAX_PICKLE_BYTES}")
    content = read_pickle(io.BytesIO(_read(stream, pickle)))
    return TorchFile(content, stream, lambda key: find(f"data/{key}"))


def _check_members(members: dict[str, zipfile.ZipInfo], size: int) -> None:
    for name, info in members.items():
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise CheckpointError(
                f"its part {shown(name)} is compressed, which torch.save never does: save it "
                "again with torch.save"
            )
        if info.flag_bits & 1:
            raise CheckpointError(f"its part {shown(name)} is encrypted")
    if sum(info.file_size for info in members.values()) > size:
        raise CheckpointError("its parts overlap: they have more bytes than the file")


def _place_of(stream: BinaryIO, info: zipfile.ZipInfo) -> _Place:
    header = _read(stream, _Place(info.header_offset, _LOCAL_HEADER.size))
    signature, name, extra = _LOCAL_HEADER.unpack(header)
    if signature != b"PK\x03\x04":
        raise CheckpointError(f"its part {shown(info.filename)} is damaged")
    start = info.header_offset + _LOCAL_HEADER.size + name + extra
    return _Place(start, info.file_size, info.CRC)


def _open_old(stream: BinaryIO) -> TorchFile:
    """Read the format before PyTorch 1.6: five pickles, then the size and data of each storage."""
    stream.seek(0)
    pickles = io.BytesIO(stream.read(MAX_PICKLE_BYTES))
    if read_pickle(pickles) != _OLD_MAGIC or read_pickle(pickles) != _OLD_PROTOCOL:
        raise CheckpointError("it is a pickle, but torch.save did not write it")
    system = read_pickle(pickles)
    _check_byte_order(isinstance(system, dict) and system.get("little_endian") is True)
    storages: dict[str, Storage] = {}
    content = read_pickle(pickles, storages)
    keys = read_pickle(pickles)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("its list of storages is damaged")
    places: dict[str, _Place] = {}
    position = pickles.tell()
    for key in keys:
        if key in places or key not in storages:
            raise CheckpointError("its list of storages is damaged")
        (count,) = struct.unpack("<q", _read(stream, _Place(position, 8)))
        if count != storages[key].count:
            raise CheckpointError(
                f"storage {shown(key)} must have {storages[key].count} numbers, it has {count}"
            )
        places[key] = _Place(position + 8, count * storages[key].dtype.itemsize)
        position += 8 + places[key].size

    def find(key: str) -> _Place:
        if key not in places:
            raise CheckpointError(f"it lacks storage {shown(key)}")
        return places[key]

    return TorchFile(content, stream, find)


def _check_strides(key: str, tensor: PickledTensor) -> tuple[int, ...]:
    strides = tensor.strides
    if (
        not isinstance(strides, tuple)
        or not isinstance(tensor.shape, tuple)
        or len(strides) != len(tensor.shape)
        or not all(type(step) is int and step >= 0 for step in strides)
    ):
        raise CheckpointError(f"{key} must have one stride for each side")
    return strides


def _check_byte_order(little: bool) -> None:
    if not little:
        raise CheckpointError("it was saved on a big-endian machine: save it on another one")


def _read(stream: BinaryIO, place: _Place) -> bytearray:
    """Read the bytes of a place, which is checked before memory is allocated."""
    if place.start < 0 or place.start + place.size > _size_of(stream):
        raise CheckpointError("it is truncated or damaged")
    data = bytearray(place.size)
    stream.seek(place.start)
    if stream.readinto(data) != place.size:  # type: ignore[attr-defined]
        raise CheckpointError("it is truncated or damaged")
    if place.crc is not None and zlib.crc32(data) != place.crc:
        raise CheckpointError("it is damaged: the checksum of a part does not match")
    return data


def _size_of(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_size


class _BoundedReads:
    """Limits the size of the central directory that zipfile reads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek = stream.seek
        self.tell = stream.tell

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        left = _size_of(self._stream) - self._stream.tell()
        if (left if count < 0 else min(count, left)) > _MAX_DIRECTORY_BYTES:
            raise CheckpointError(f"its list of parts has more than {_MAX_DIRECTORY_BYTES} bytes")
        return self._stream.read(count)
