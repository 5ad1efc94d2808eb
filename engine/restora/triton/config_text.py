"""Write protobuf's text format: config.pbtxt without the protobuf package.

Format: protobuf.dev/reference/protobuf/textformat-spec. Messages and fields of a configuration:
model_config.proto of github.com/triton-inference-server/common.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

Value: TypeAlias = "str | int | bool | Word | Message | Sequence[Value]"
Message: TypeAlias = Mapping[str, "Value"]


class Word(str):
    """A name of an enumeration, which is written without quotes."""

    __slots__ = ()


def to_text(message: Message) -> str:
    """The message in protobuf's text format.

    message: fields by name, in the order in which they are written: text, Words, numbers, messages,
        and sequences of these for repeated fields
    """
    return "".join(f"{line}\n" for line in _lines(message, ""))


def to_map(values: Mapping[str, Value]) -> list[Message]:
    """The entries of a map field."""
    return [{"key": key, "value": value} for key, value in values.items()]


def _lines(message: Message, indent: str) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield from _nested(name, value, indent)
        elif isinstance(value, str | int):
            yield f"{indent}{name}: {_scalar(value)}"
        elif any(isinstance(item, Mapping) for item in value):
            for item in value:
                assert isinstance(item, Mapping)
                yield from _nested(name, item, indent)
        elif value:
            yield f"{indent}{name}: [{', '.join(_scalar(item) for item in value)}]"


def _nested(name: str, message: Message, indent: str) -> Iterator[str]:
    inner = list(_lines(message, indent + "  "))
    if not inner:
        yield f"{indent}{name} {{}}"
        return
    yield f"{indent}{name} {{"
    yield from inner
    yield f"{indent}}}"


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Word | int):
        return str(value)
    assert isinstance(value, str)
    return json.dumps(value, ensure_ascii=False)  # its escapes are a part of the text format's
