"""Which answer a request accepts: a picture format, or JSON."""

from __future__ import annotations

import re

from restora.errors import NotAcceptableError
from restora.jobs.inputs import Ext

JSON = "application/json"
MEDIA_TYPES: dict[str, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "tiff": "image/tiff",
}
_FORMATS: dict[str, Ext] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/tiff": "tiff",
    "image/*": "auto",
    "*/*": "auto",
}
_QUALITY = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")
_MOST_TYPES = 64


def choose_answer(header: str | None) -> tuple[Ext, bool]:
    """The picture format that an Accept header wants most, and whether the answer is JSON with a
    link to it. The first of equals counts.

    Raises NotAcceptableError if it accepts nothing that the service writes.
    """
    best, chosen = 0.0, None
    for entry in (header or "*/*").split(",")[:_MOST_TYPES]:
        media_type, *parameters = (word.strip().lower() for word in entry.split(";"))
        found = next((q for q in map(_QUALITY.fullmatch, parameters) if q), None)
        quality = 1.0 if found is None else float(found[1])
        known = media_type == JSON or media_type in _FORMATS
        if known and quality > best:
            best, chosen = quality, media_type
    if chosen is None:
        raise NotAcceptableError(
            f"the service answers with {', '.join(MEDIA_TYPES.values())} or {JSON}"
        )
    return _FORMATS.get(chosen, "auto"), chosen == JSON
