"""What a picture's file may claim and cost."""

from __future__ import annotations

from dataclasses import dataclass

from restora.errors import OptionError

_TOO_MUCH = 2**63


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """Bounds on one input picture.

    max_pixels: largest width * height
    max_file_bytes: size of the file, checked before it is read
    max_decode_s: seconds that decoding may take in read_isolated, which can end a decoder;
        decode_photo does not use it

    Raises OptionError for a bound that is not a positive number.
    """

    max_pixels: int = 200_000_000
    max_file_bytes: int = 2 << 30
    max_decode_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_file_bytes", "max_decode_s"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise OptionError(f"{name} must be a number, got {value!r}")
            if not 0 < value < _TOO_MUCH:  # NaN neither
                shown = repr(value) if value < _TOO_MUCH else "more"
                raise OptionError(f"{name} must be positive and below 2**63, got {shown}")
