"""Sizes of memory and files as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

from restora.errors import OptionError

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_LARGEST = 2**63 - 1  # of what operating systems count in


def parse_size(text: str) -> int:
    """Bytes of "2G", "1.5GiB", "512M" or plain digits. Raises OptionError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise OptionError(f"a size is written like 512M or 2G, got {text!r}")
    size = int(Fraction(found[1]) * _UNITS[found[2].upper()])
    if not 1 <= size <= _LARGEST:
        raise OptionError(f"a size is written like 512M or 2G, from 1 byte to 8E, got {text!r}")
    return size
