"""Small photos from the games of GCompris: objects, animals and buildings on 320 pixels.

The Debian package gcompris-qt-data says in its copyright file who took each photo and what its
license is. Those in the public domain or under CC0 or CC BY are taken.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restora_tools.package_licenses import find_file, read_licenses, without_suffix
from restora_tools.qt_resources import iter_resources

PACKAGE = "gcompris-qt-data"
GAMES = ("categorization", "explore_world_animals")
SMALLEST_SIDE = 128  # pixels
_PREFIX = "/gcompris/"  # of the paths in resource files


@dataclass(frozen=True, slots=True)
class GamePhoto:
    """name: of the file, without its suffix; pixels: uint8 RGB"""

    name: str
    license: str
    pixels: NDArray[np.uint8]


def iter_game_photos(packages: Path) -> Iterator[GamePhoto]:
    """The free photos of the unpacked package.

    packages: a folder that holds the package, unpacked
    """
    licenses = read_licenses(find_file(packages, f"doc/{PACKAGE}/copyright"))
    for game in GAMES:
        resources = find_file(packages, f"rcc/{game}.rcc").read_bytes()
        for path, content in iter_resources(resources):
            license_text = licenses.get(without_suffix(path.removeprefix(_PREFIX)))
            if license_text is None:
                continue
            with Image.open(io.BytesIO(content)) as image:
                if min(image.size) >= SMALLEST_SIDE:
                    pixels = np.asarray(image.convert("RGB"))
                    yield GamePhoto(PurePosixPath(path).stem, license_text, pixels)
