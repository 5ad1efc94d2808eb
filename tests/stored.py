"""Test data that is stored small: JSON as .xz, and arrays of which pictures are lossless WebP."""

from __future__ import annotations

import io
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_PICTURE = ".webp"  # ends the names of arrays that hold the bytes of a file


def read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lzma.decompress(path.read_bytes()))
    return found


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as stored:
        return {
            name.removesuffix(_PICTURE): _decode(stored[name])
            if name.endswith(_PICTURE)
            else stored[name]
            for name in stored
        }


def _decode(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (h, w, 3) or (h, w, 4)"""
    with Image.open(io.BytesIO(data.tobytes())) as picture:
        return np.asarray(picture)
