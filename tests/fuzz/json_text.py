"""Mutations of JSON: a value is replaced, removed or repeated, and the rest stays well formed."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from fuzz.mutate import mutate_bytes

_LONG = 5000  # digits; Python refuses to read more than 4300
_STAND_INS = {
    '"@long@"': "9" * _LONG,
    '"@deep@"': "[" * 100_000 + "]" * 100_000,
    '"@huge@"': "1e999",
    '"@nan@"': "NaN",
    '"@lone@"': '"\\ud800"',
}


def mutate_json(text: bytes, rng: Random) -> bytes:
    """Of a text that is one JSON value; what is none is mutated as bytes."""
    if rng.random() < 0.15:
        return mutate_bytes(text, rng)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return mutate_bytes(text, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _mutate(value, rng)
    try:
        changed = json.dumps(value)
    except RecursionError:
        return mutate_bytes(text, rng)
    for name, what in _STAND_INS.items():
        changed = changed.replace(name, what)
    return changed.encode()


def draw_value(rng: Random) -> Any:
    """Whatever JSON can hold; names between @ stand for what json.dumps cannot write."""
    return rng.choice(
        (
            *(None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e308, 1e-308, 2**31, 2**63, -(2**63)),
            *(2**64, 10**30, 30_000, 10**9, "", "x", "0", "1", "nan", "é漢字", "\x00", "a\nb"),
            *("\x1b[31m", "../../etc/passwd", "/dev/zero", "9" * 40, "y" * 5000, [], {}, [[]]),
            *([1], [-1, -1], ["x"], [1, 2, 3], {"x": 1}, {"": None}, [None] * 50),
            *("@long@", "@deep@", "@huge@", "@nan@", "@lone@"),
        )
    )


def _mutate(value: Any, rng: Random) -> Any:
    """A copy with one change in it, somewhere."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        changed = dict(value)
        key = rng.choice(list(changed))
        what = rng.random()
        if what < 0.1:
            del changed[key]
        elif what < 0.15:
            changed[rng.choice(("", "x", key.upper(), key + " "))] = changed.pop(key)
        elif what < 0.2:
            changed[key] = changed[rng.choice(list(changed))]
        else:
            changed[key] = _mutate(changed[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        listed = list(value)
        place = rng.randrange(len(listed))
        what = rng.random()
        if what < 0.1:
            del listed[place]
        elif what < 0.2:
            listed *= rng.choice((2, 100))
        else:
            listed[place] = _mutate(listed[place], rng)
        return listed
    if isinstance(value, (int, float)) and not isinstance(value, bool) and rng.random() < 0.4:
        return rng.choice((-value, value + 1, value - 1, value * 1000, value * 1e20, str(value)))
    if isinstance(value, str) and value and rng.random() < 0.3:
        return mutate_bytes(value.encode(errors="replace"), rng).decode("utf-8", "replace")
    return draw_value(rng)
