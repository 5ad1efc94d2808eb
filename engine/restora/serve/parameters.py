"""Parameters of a request for one photo: named and checked like options of the command line."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from restora.checks import check_choice
from restora.errors import OptionError
from restora.faces.choose import EYE_DISTANCE_PX
from restora.faces.options import FaceOptions
from restora.jobs.inputs import Ext
from restora.jobs.options import RunOptions
from restora.upsample import MAX_OUTSCALE, AlphaMethod, check_outscale

_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
_MAX_DIGITS = 40
# options of the command that are the same for all requests
FIXED = (
    "tile", "tile_pad", "batch", "blend", "compat", "pre_pad", "threads", "backend", "precision",
    "fp32", "gpu_id", "gpu", "denoise_strength", "face_model", "face_detector", "face_batch",
    "face_parsing", "face_enhance", "memory", "max_pixels", "max_file_size", "decode_timeout",
    "max_output_pixels", "compare", "save_faces",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PhotoParameters:
    """What is to be done with a photo. Raises OptionError for a value that cannot work.

    model: None: the first of the service; faces: None: if the service has a face model
    """

    model: str | None = None
    outscale: float | None = None
    ext: Ext = "auto"
    quality: int = 95
    strip_metadata: bool = False
    alpha_upsampler: AlphaMethod = "network"
    faces: bool | None = None
    face_strength: float = 1.0
    eye_dist_threshold: float = EYE_DISTANCE_PX
    only_center_face: bool = False
    aligned: bool = False

    def __post_init__(self) -> None:
        RunOptions(
            ext=self.ext, quality=self.quality, strip_metadata=self.strip_metadata,
            outscale=self.outscale, aligned=self.aligned,
        )  # fmt: skip
        check_choice("alpha_upsampler", self.alpha_upsampler, get_args(AlphaMethod))
        FaceOptions(
            strength=self.face_strength, eye_dist_threshold=self.eye_dist_threshold,
            only_center_face=self.only_center_face,
        )  # fmt: skip
        if self.aligned and self.faces is False:
            raise OptionError("aligned faces cannot be restored with faces=false")


def parse_parameters(given: Iterable[tuple[str, Any]], *, ext: Ext = "auto") -> PhotoParameters:
    """Parameters by name, with hyphens or underscores.

    given: values are text, or of the types of JSON
    ext: if none is given

    Raises OptionError for unknown names, for values that cannot work, and for a name that is given
    twice with different values.
    """
    values: dict[str, Any] = {}
    for name, value in given:
        key = name.replace("-", "_")
        if key not in SCHEMA:
            raise OptionError(_explain_unknown(name, key))
        parsed = _PARSERS[SCHEMA[key]["type"]](key, value)
        if values.setdefault(key, parsed) != parsed:
            raise OptionError(f"{name} is given twice, as {values[key]!r} and as {parsed!r}")
    return PhotoParameters(**{"ext": ext, **values})


def parse_flag(name: str, value: Any) -> bool:
    """Of text, or of JSON. Raises OptionError."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word not in _TRUE | _FALSE:
        raise OptionError(f"{name} must be true or false, got {_show(value)}")
    return word in _TRUE


def _explain_unknown(name: str, key: str) -> str:
    if key in FIXED:
        return f"{key} is set when the service starts, not by requests"
    return f"there is no parameter {name[:_MAX_DIGITS]!r}; there are {', '.join(SCHEMA)}"


def _parse_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{name} must be text, got {_show(value)}")
    return value


def _parse_number(name: str, value: Any) -> float:
    if isinstance(value, str) and len(value) <= _MAX_DIGITS:
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"{name} must be a number, got {_show(value)}")
    if isinstance(value, int) and abs(value) > MAX_OUTSCALE:
        raise OptionError(f"{name} must be a number up to {MAX_OUTSCALE:g}, got {_show(value)}")
    return check_outscale(value) if name == "outscale" else float(value)


def _parse_whole(name: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionError(f"{name} must be a whole number, got {_show(value)}")
    return value


def _show(value: Any) -> str:
    return json.dumps(value, default=str)[:_MAX_DIGITS]


_PARSERS: dict[str, Any] = {
    "string": _parse_text, "number": _parse_number, "integer": _parse_whole, "boolean": parse_flag,
}  # fmt: skip
# JSON Schema of each, for the OpenAPI document and for pages
SCHEMA: dict[str, dict[str, Any]] = {
    "model": {
        "type": "string",
        "description": "A loaded model, see /v1/models. Default: the first of them.",
    },
    "outscale": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Final enlargement. Default: the model's own.",
    },
    "ext": {
        "type": "string",
        "enum": list(get_args(Ext)),
        "default": "auto",
        "description": "Format of the result. auto: as the input, or png if that cannot be "
        "written. Default: by the Accept header.",
    },
    "quality": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 95,
        "description": "Of JPEG and WebP; higher is better.",
    },
    "strip_metadata": {
        "type": "boolean",
        "default": False,
        "description": "Drop ICC, EXIF and XMP.",
    },
    "alpha_upsampler": {
        "type": "string",
        "enum": list(get_args(AlphaMethod)),
        "default": "network",
        "description": "How transparency is enlarged.",
    },
    "faces": {
        "type": "boolean",
        "description": "Restore faces with a network of their own. Default: if the service has "
        "one.",
    },
    "face_strength": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 1,
        "description": "0: the original face, 1: the restored face.",
    },
    "eye_dist_threshold": {
        "type": "number",
        "minimum": 0,
        "default": EYE_DISTANCE_PX,
        "description": "Least distance between the eyes of a restored face, in input pixels.",
    },
    "only_center_face": {
        "type": "boolean",
        "default": False,
        "description": "Restore only the face nearest to the center.",
    },
    "aligned": {
        "type": "boolean",
        "default": False,
        "description": "The photo is one aligned face: restore it as a face, not enlarged.",
    },
}
