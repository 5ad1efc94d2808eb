"""Mutations of protobuf messages (ONNX): one field somewhere, with right lengths around it."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from fuzz.json_text import mutate_json
from fuzz.mutate import draw_integer, mutate_bytes

_MOST_FIELDS = 20_000


class Field(NamedTuple):
    """number and wire type; value: of a varint its number, else the bytes."""

    number: int
    wire: int
    value: int | bytes


def mutate_message(data: bytes, rng: Random, depth: int = 0) -> bytes:
    """Raises ValueError if it is no message."""
    fields = parse(data)
    if not fields:
        raise ValueError("no fields")
    place = rng.randrange(len(fields))
    number, wire, value = fields[place]
    deeper = isinstance(value, bytes) and depth < 8 and rng.random() < 0.8
    if isinstance(value, bytes) and deeper and (inner := _inside(value, rng, depth)) is not None:
        fields[place] = Field(number, wire, inner)
        return join(fields)
    what = rng.randrange(10)
    if what == 0:
        del fields[place]
    elif what == 1:
        fields[place:place] = [fields[place]] * rng.choice((1, 1, 100))
    elif what in (2, 3):
        new = rng.choice((rng.randrange(1, 32), rng.randrange(1, 1 << 20), 0))
        fields[place] = Field(new, wire, value)
    elif what == 4:
        fields.insert(place, Field(rng.randrange(1, 40), 2, _message_in_message(rng)))
    elif what == 5:
        fields[place] = Field(number, rng.choice((0, 1, 2, 3, 4, 5, 6, 7)), value)
    elif isinstance(value, int):
        fields[place] = Field(number, 0, draw_integer(rng, 8))
    elif what == 6:  # a length that is not the content's
        return (
            join(fields[:place])
            + _tag(number, 2)
            + varint(draw_integer(rng, rng.choice((1, 2, 4, 8))))
        )
    else:
        fields[place] = Field(number, wire, mutate_bytes(value, rng))
    return join(fields)


def parse(data: bytes) -> list[Field]:
    """Raises ValueError if it is no message."""
    fields, position = [], 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        wire = tag & 7
        value: int | bytes
        if tag >> 3 == 0 or len(fields) >= _MOST_FIELDS:
            raise ValueError("no message")
        if wire == 0:
            value, position = _read_varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, position = data[position : position + size], position + size
        elif wire == 2:
            size, position = _read_varint(data, position)
            value, position = data[position : position + size], position + size
        else:
            raise ValueError("no message")
        if position > len(data):
            raise ValueError("no message")
        fields.append(Field(tag >> 3, wire, value))
    return fields


def join(fields: list[Field]) -> bytes:
    parts = []
    for number, wire, value in fields:
        parts.append(_tag(number, wire))
        if isinstance(value, int):
            parts.append(varint(value))
        else:
            parts.append(varint(len(value)) + value if wire == 2 else value)
    return b"".join(parts)


def varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(parts) + bytes([value])


def _inside(value: bytes, rng: Random, depth: int) -> bytes | None:
    if value.startswith(b"{"):
        return mutate_json(value, rng)
    try:
        return mutate_message(value, rng, depth + 1)
    except ValueError:
        return None


def _message_in_message(rng: Random) -> bytes:
    inner = rng.randbytes(rng.choice((0, 1, 8)))
    for _ in range(rng.choice((0, 1, 5, 100, 3000))):
        inner = _tag(rng.randrange(1, 26), 2) + varint(len(inner)) + inner
    return inner


def _tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("no message")
