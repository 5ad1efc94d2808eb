"""What a request to restora-photo asks for."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from restora.checks import check_choice, check_flag, check_whole
from restora.errors import OptionError
from restora.image.encode import Format

_EXTS = ("auto", *get_args(Format))
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class PhotoRequest:
    """What a request asks for, with the names of the command line.

    model: name of an upsampler on the server; None: the first one
    outscale: None: the network's own
    faces: None: as the server is set up
    """

    model: str | None = None
    outscale: float | None = None
    ext: Literal["auto", "png", "jpg", "webp", "tiff"] = "auto"
    quality: int = 95
    strip_metadata: bool = False
    faces: bool | None = None


def request_from(parameters: Mapping[str, object]) -> PhotoRequest:
    """Raises OptionError for an unknown name, and for a value that cannot work."""
    fields = {name.replace("-", "_"): value for name, value in parameters.items()}
    known = tuple(PhotoRequest.__dataclass_fields__)
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise OptionError(
            f"a request's parameters are {', '.join(known)}, got {', '.join(unknown)}"
        )
    asked = PhotoRequest()
    if "model" in fields:
        asked = replace(asked, model=str(fields["model"]))
    if "outscale" in fields:
        asked = replace(asked, outscale=_number("outscale", fields["outscale"]))
    if "ext" in fields:
        ext = check_choice("ext", fields["ext"], _EXTS)
        asked = replace(asked, ext=ext)
    if "quality" in fields:
        quality = _number("quality", fields["quality"])
        whole = int(quality) if quality == int(quality) else quality
        asked = replace(asked, quality=check_whole("quality", whole, minimum=1, maximum=100))
    if "strip_metadata" in fields:
        asked = replace(asked, strip_metadata=_flag("strip_metadata", fields["strip_metadata"]))
    if "faces" in fields:
        asked = replace(asked, faces=_flag("faces", fields["faces"]))
    return asked


def _number(name: str, value: object) -> float:
    """Of a number or of text: not every client can send both."""
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
    if not math.isfinite(number):
        raise OptionError(f"{name} must be a number, got {value!r}")
    return number


def _flag(name: str, value: object) -> bool:
    if isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
        return value.lower() in _TRUE
    return check_flag(name, value)
