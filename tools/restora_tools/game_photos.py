"""Small photos from the games of GCompris: objects, animals and buildings on 320 pixels.

The Debian package gcompris-qt-data says in its copyright file who took each photo and what its
license is. Those in the public domain or under CC0 or CC BY are taken.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restora_tools.qt_resources import iter_resources

PACKAGE = "gcompris-qt-data"
GAMES = ("categorization", "explore_world_animals")
SMALLEST_SIDE = 128  # pixels
_FREE = re.compile(r"public-domain$|CC0-|CC-BY-\d")
_PREFIX = "/gcompris/"  # of the paths in resource files
_FIELD = re.compile(r"^(Files|Copyright|License):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)


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
    licenses = _read_licenses(_only(packages, f"doc/{PACKAGE}/copyright"))
    for game in GAMES:
        resources = _only(packages, f"rcc/{game}.rcc").read_bytes()
        for path, content in iter_resources(resources):
            license_text = licenses.get(_without_suffix(path.removeprefix(_PREFIX)))
            if license_text is None:
                continue
            with Image.open(io.BytesIO(content)) as image:
                if min(image.size) >= SMALLEST_SIDE:
                    pixels = np.asarray(image.convert("RGB"))
                    yield GamePhoto(PurePosixPath(path).stem, license_text, pixels)


def _read_licenses(path: Path) -> dict[str, str]:
    """License and author of each free file by its path without suffix: pictures are converted when
    the package is built."""
    licenses = {}
    for paragraph in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        fields = dict(_FIELD.findall(paragraph))
        terms = fields.get("License", "").split("\n")[0].strip()
        if "Files" in fields and _FREE.match(terms):
            author = " ".join(fields.get("Copyright", "").split())
            for file in fields["Files"].split():
                licenses[_without_suffix(file)] = f"{terms}, {author}"
    return licenses


def _only(packages: Path, end: str) -> Path:
    for path in packages.rglob(PurePosixPath(end).name):
        if path.as_posix().endswith(end):
            return path
    raise SystemExit(f"{packages} has no {end}: unpack {PACKAGE} there")


def _without_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
