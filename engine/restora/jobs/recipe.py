"""Hash of all settings that affect a result besides its input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Protocol

from restora.version import __version__

_LOSSY = ("jpg", "webp")


class HasSettings(Protocol):
    """A Restorer, or facts about one in another process."""

    @property
    def scale(self) -> int: ...

    def output_settings(self) -> Mapping[str, object]: ...


def recipe_hash(restorer: HasSettings, writing: Mapping[str, object]) -> str:
    """Hash all settings that decide the pixels and how they are written; 32 hexadecimal digits.

    writing: settings of the file, as JSON can hold them; see writing_settings
    """
    values = {
        "restora": __version__,
        "restorer": restorer.output_settings(),
        "writing": dict(writing),
    }
    # other types than JSON's raise TypeError: their text may change from process to process
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def writing_settings(
    restorer: HasSettings,
    format: str,  # noqa: A002
    *,
    outscale: float | None = None,
    quality: int = 95,
    strip_metadata: bool = False,
    aligned: bool = False,
) -> dict[str, object]:
    """The settings that affect the bytes of one result file; those that do not apply are left out.

    format: "jpg", "png", "webp" or "tiff"
    aligned: the photo is an aligned face; `outscale` does not apply
    """
    settings: dict[str, object] = {"format": format, "strip_metadata": strip_metadata}
    if format in _LOSSY:
        settings["quality"] = quality
    if aligned:
        settings["aligned"] = True
    else:
        settings["outscale"] = float(restorer.scale if outscale is None else outscale)
    return settings
