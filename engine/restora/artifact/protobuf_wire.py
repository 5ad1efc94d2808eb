"""A strict parser of the protobuf wire format, and an encoder of its fields.

Encoding: protobuf.dev/programming-guides/encoding. Bytes that two readers could interpret
differently are refused: groups, numbers with more bytes than necessary, fields that extend past the
end of their message.
"""

from collections.abc import Iterator

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_MAX_NUMBER = 1 << 64
_CHUNK = 1 << 20

RawField = tuple[int, int, int | memoryview]


def iter_fields(message: memoryview) -> Iterator[RawField]:
    """Yield (field number, wire type, value); values are numbers for varints, else memory views.

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
                raise ValueError(f"ONNX files do not use wire type {wire_type}")
        if length > end - position:
            raise ValueError("a field extends past the end of its message")
        yield tag >> 3, wire_type, message[position : position + length]
        position += length


def read_packed_varints(packed: memoryview) -> list[int]:
    """Read the numbers of a packed field. Raises ValueError."""
    numbers, position = [], 0
    while position < len(packed):
        number, position = _read_varint(packed, position)
        numbers.append(number)
    return numbers


def count_packed(packed: memoryview, wire_type: int) -> int:
    """Count the numbers of a packed field, fast enough for millions. Raises ValueError.

    wire_type: the wire type of a single number
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


def encode_field(number: int, value: int | bytes | memoryview, wire_type: int = BYTES) -> bytes:
    """One field of a message. wire_type: of bytes; numbers are always varints."""
    if isinstance(value, int):
        return _encode_varint(number << 3 | VARINT) + _encode_varint(value)
    length = _encode_varint(len(value)) if wire_type == BYTES else b""
    return b"".join((_encode_varint(number << 3 | wire_type), length, value))


def read_text(message: memoryview, wanted: int) -> str:
    """The first text field of that number, or "". Raises ValueError."""
    for number, _, value in iter_fields(message):
        if number == wanted and not isinstance(value, int):
            return bytes(value).decode()
    return ""


def _encode_varint(value: int) -> bytes:
    coded = bytearray()
    while value >= 0x80:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])


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
                raise ValueError("a number has more bytes than necessary")
            if value >= _MAX_NUMBER:
                break
            return value, position
    raise ValueError("a number is larger than 64 bits")
