"""Validate the values of an untrusted JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_REQUIRED = object()
_SHOWN = 80  # characters of a wrong value in an error message


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule for one value.

    words: the requirement, as it follows "must be" in a message
    read: returns the checked value, or raises ValueError
    default: the value of an optional name
    """

    words: str
    read: Callable[[Any], Any]
    default: Any = _REQUIRED


def read_fields(values: Any, rules: Mapping[str, Rule], *, what: str) -> dict[str, Any]:
    """Read the values of an object. Names without a rule are ignored, since later versions may add
    names.

    what: name of the object for messages, such as "the metadata"

    Raises ValueError with the name, its rule and the value.
    """
    if not isinstance(values, dict):
        raise ValueError(  # noqa: TRY004  # what callers expect
            f"{what} must be a JSON object, got {describe(values)}"
        )
    read = {}
    for name, rule in rules.items():
        if name not in values:
            if rule.default is _REQUIRED:
                raise ValueError(f"{what} must have {name}, {rule.words}")
            read[name] = rule.default
            continue
        value = values[name]
        try:
            read[name] = rule.read(value)
        except ValueError as error:
            # errors of nested objects name their field themselves
            text = str(error) or f"{name} must be {rule.words}, got {describe(value)}"
            raise ValueError(text) from None
    return read


def parse_json(text: str, *, maximum: int, what: str) -> Any:
    """Parse JSON without NaN, Infinity or repeated names. Raises ValueError.

    maximum: the largest number of characters
    """
    if len(text) > maximum:
        raise ValueError(f"{what} must have at most {maximum} characters, got {len(text)}")
    try:
        return json.loads(text, object_pairs_hook=_make_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None


def whole(minimum: int, maximum: int) -> Rule:
    # bool is a subclass of int, but not a number here
    return _if(
        f"a whole number from {minimum} to {maximum}",
        lambda v: type(v) is int and minimum <= v <= maximum,
    )


def number(minimum: float, maximum: float) -> Rule:
    def read(value: Any) -> float:
        # compare first, since an int can be too large for a float
        if type(value) not in (int, float) or not minimum <= value <= maximum:
            raise ValueError
        return float(value)

    return Rule(f"a number from {minimum:g} to {maximum:g}", read)


def text(maximum: int, *, minimum: int = 0) -> Rule:
    return _if(
        f"printable text of {minimum} to {maximum} characters",
        lambda v: isinstance(v, str) and minimum <= len(v) <= maximum and v.isprintable(),
    )


def choice(*allowed: str) -> Rule:
    return _if(
        f"one of {', '.join(allowed)}" if len(allowed) > 1 else allowed[0],
        lambda v: isinstance(v, str) and v in allowed,
    )


def flag() -> Rule:
    return _if("true or false", lambda v: isinstance(v, bool))


def list_of(rule: Rule, *, maximum: int) -> Rule:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > maximum:
            raise ValueError
        return tuple(rule.read(part) for part in value)

    return Rule(f"a list of at most {maximum} values, each {rule.words}", read)


def nullable(rule: Rule) -> Rule:
    return Rule(f"null or {rule.words}", lambda v: None if v is None else rule.read(v), None)


def nested(rules: Mapping[str, Rule], make: Callable[..., Any], *, name: str) -> Rule:
    """The rule for an object that is passed to `make`."""
    return Rule("a JSON object", lambda v: make(**read_fields(v, rules, what=name)))


def describe(value: Any) -> str:
    """Describe a wrong value briefly; objects and lists by their type."""
    simple = isinstance(value, bool | int | float | str | None)
    shown = repr(value) if simple else type(value).__name__
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def _if(words: str, holds: Callable[[Any], bool]) -> Rule:
    def read(value: Any) -> Any:
        if not holds(value):
            raise ValueError
        return value

    return Rule(words, read)


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is given twice in one object")
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
