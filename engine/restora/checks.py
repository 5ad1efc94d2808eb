"""Check the values of options when they are set: each check returns the value as a plain type."""

from __future__ import annotations

import math
import operator
from typing import Any, TypeVar

import numpy as np

from restora.errors import OptionError

T = TypeVar("T")


def check_choice(name: str, value: T, allowed: tuple[T, ...]) -> T:
    """Raises OptionError, listing `allowed`, if the value is none of them."""
    if not isinstance(value, str) or value not in allowed:
        words = ", ".join(repr(choice) for choice in allowed)
        raise OptionError(f"{name} must be one of {words}, got {value!r}")
    return value


def check_whole(name: str, value: object, *, minimum: int, maximum: int | None = None) -> int:
    """A whole number in minimum..maximum, of Python or of NumPy; True and 2.0 are none."""
    limits = f"of at least {minimum}" if maximum is None else f"in {minimum}..{maximum}"
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise OptionError(f"{name} must be a whole number {limits}, got {value!r}") from None
    if number < minimum or (maximum is not None and number > maximum):
        raise OptionError(f"{name} must be a whole number {limits}, got {number}")
    return number


def check_number(name: str, value: Any, *, minimum: float, maximum: float = math.inf) -> float:
    """A finite number in minimum..maximum, of Python or of NumPy."""
    limits = f"of at least {minimum:g}" if math.isinf(maximum) else f"in {minimum:g}..{maximum:g}"
    plain = isinstance(value, int | float | np.integer | np.floating)
    if not plain or isinstance(value, bool) or not minimum <= value <= maximum or value == math.inf:
        raise OptionError(f"{name} must be a finite number {limits}, got {value!r}")
    return float(value)


def check_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise OptionError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def set_checked(options: object, **values: object) -> None:
    """Set fields of a frozen dataclass to their checked values; for __post_init__."""
    for name, value in values.items():
        object.__setattr__(options, name, value)
