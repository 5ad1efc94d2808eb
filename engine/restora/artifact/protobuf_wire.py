"""Read protobuf's wire format, with none of the leeway that protobuf itself gives.

Encoding: protobuf.dev/programming-guides/encoding. Where two readers could understand the same
bytes differently, the bytes are refused: groups, numbers in more bytes than they need, fields that
reach past their message.
"""

from collections.abc import Iterator

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_MAX_NUMBER = 1 << 64
_CHUNK = 1 << 20

RawField = tuple[int, int, int | memoryview]


def iter_fields(message: memoryview) -> Iterator[RawField]:
    """Yield (field number, wire type, value): varints as numbers, all else as a view of its bytes.

    Raises ValueError if the bytes are not a message.
    """
    position, end = 0, len(message)
    while position < end:
        tag, position = _read_varint(message, position)
        wire_type = tag & 7
        if wire_type == VARINT:
            value, position = _read_varint(message, position)
            yield tag >> 3, wire_type, value
            continue
        if wire_type == BYTES:
            length, position = _read_varint(message, position)
        else:
            length = _WIDTHS.get(wire_type, -1)
            if length < 0:
                raise ValueError(f"wire type {wire_type} is not one that ONNX files hold")
        if length > end - position:
            raise ValueError("a field reaches past the end of its message")
        yield tag >> 3, wire_type, message[position : position + length]
        position += length


def read_packed_varints(packed: memoryview) -> list[int]:
    """The numbers of a packed field. Raises ValueError."""
    numbers, position = [], 0
    while position < len(packed):
        number, position = _read_varint(packed, position)
        numbers.append(number)
    return numbers


def count_packed(packed: memoryview, wire_type: int) -> int:
    """How many numbers a packed field holds; quick for millions. Raises ValueError.

    wire_type: of one number alone
    """
    if wire_type != VARINT:
        count, rest = divmod(len(packed), _WIDTHS[wire_type])
        if rest:
            raise ValueError(f"a packed field ends {rest} bytes into a number")
        return count
    if len(packed) == 0:
        return 0
    if packed[-1] >= 0x80:
        raise ValueError("a packed field ends within a number")
    ends = (packed[start : start + _CHUNK] for start in range(0, len(packed), _CHUNK))
    return sum(int(np.count_nonzero(np.frombuffer(part, np.uint8) < 0x80)) for part in ends)


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("the message ends within a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise ValueError("a number takes more bytes than it needs")
            if value >= _MAX_NUMBER:
                break
            return value, position
    raise ValueError("a number is larger than 64 bits")
