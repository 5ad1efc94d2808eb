"""Compare the declared size of a tensor with its data before a runtime allocates memory."""

import math
from collections.abc import Mapping
from typing import Any

from restora.artifact.onnx_schema import EXTERNAL
from restora.artifact.protobuf_wire import read_packed_varints
from restora.errors import ArtifactError

MAX_RANK = 8
MAX_ELEMENTS = 1 << 31

# TensorProto.DataType: name, bytes per element, the field used instead of raw_data
_TYPES = {
    1: ("FLOAT", 4, "float_data"),
    2: ("UINT8", 1, "int32_data"),
    3: ("INT8", 1, "int32_data"),
    4: ("UINT16", 2, "int32_data"),
    5: ("INT16", 2, "int32_data"),
    6: ("INT32", 4, "int32_data"),
    7: ("INT64", 8, "int64_data"),
    9: ("BOOL", 1, "int32_data"),
    10: ("FLOAT16", 2, "int32_data"),
    11: ("DOUBLE", 8, "double_data"),
    12: ("UINT32", 4, "uint64_data"),
    13: ("UINT64", 8, "uint64_data"),
    16: ("BFLOAT16", 2, "int32_data"),
    17: ("FLOAT8E4M3FN", 1, "int32_data"),
}
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")

Part = tuple[int, int | memoryview]  # the number of values, and the value itself or their bytes


def check_tensor(tensor: Mapping[str, Any], place: str) -> None:
    """Raise ArtifactError unless a TensorProto has exactly the data of its shape and type.

    tensor: the fields by name; repeated numbers as parts
    place: the position in the file, for the message

    Raises ValueError if the shape is malformed.
    """
    if tensor.get("data_location", 0) != 0:
        raise ArtifactError(f"it {EXTERNAL} ({place})")
    number = tensor.get("data_type", 0)
    if number not in _TYPES:
        raise ArtifactError(
            f"it holds a tensor of data type {number}, which no network of restora has ({place})"
        )
    type_name, width, home = _TYPES[number]
    shape = _read_shape(tensor.get("dims", []), place)
    elements = math.prod(shape)
    held = {name: sum(count for count, _ in tensor[name]) for name in _TYPED if name in tensor}
    if "raw_data" in tensor:
        held["raw_data"], rest = divmod(len(tensor["raw_data"]), width)
        sound = rest == 0 and held == {"raw_data": elements}
    else:
        sound = held == {home: elements} or (elements == 0 and not held)
    if not sound:
        got = " and ".join(f"{count} in {name}" for name, count in held.items()) or "none"
        raise ArtifactError(
            f"it holds a {type_name} tensor of shape {shape}, which must have {elements} values in "
            f"raw_data or {home}, got {got} ({place})"
        )


def _read_shape(parts: list[Part], place: str) -> tuple[int, ...]:
    if sum(count for count, _ in parts) > MAX_RANK:
        raise ArtifactError(f"it holds a tensor of more than {MAX_RANK} dimensions ({place})")
    shape: list[int] = []
    for _, value in parts:
        shape += [value] if isinstance(value, int) else read_packed_varints(value)
    # a zero dimension must not hide the others; negative ones are above 2**63 here
    if math.prod(side or 1 for side in shape) > MAX_ELEMENTS:
        raise ArtifactError(
            f"it holds a tensor of shape {tuple(shape)}; at most {MAX_ELEMENTS} elements are "
            f"accepted ({place})"
        )
    return tuple(shape)
