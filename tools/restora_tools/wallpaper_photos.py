"""Photos of things, animals and places: wallpapers of Ubuntu, Ubuntu Budgie, Ubuntu Cinnamon and
Xubuntu, 1920 to 6000 pixels wide.

The copyright file of each package says who took each photo and what its license is. Those in the
public domain and under CC0 or CC BY are taken, but for the few that a model generated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from restora_tools.package_licenses import find_file, read_licenses

ARCHIVE = "https://archive.ubuntu.com/ubuntu"
SECTION = "universe/binary-amd64"
_GENERATED = "ai_generated"
_SUFFIXES = {".jpg", ".png"}


@dataclass(frozen=True, slots=True)
class _Series:
    """Packages of wallpapers with one copyright file, which lists the photos of all.

    releases: ends of the packages' names
    files: pattern of the photos' paths
    """

    name: str
    releases: tuple[str, ...]
    files: str

    @property
    def packages(self) -> tuple[str, ...]:
        return tuple(f"{self.name}-{release}" for release in self.releases)

    def read_licenses(self, unpacked: Path) -> dict[str, str]:
        """License and author of each free photo, by its name without suffix."""
        licenses = read_licenses(find_file(unpacked, f"doc/{self.packages[0]}/copyright"))
        return {PurePosixPath(file).name: terms for file, terms in licenses.items()}


_SERIES = (
    _Series(
        "budgie-wallpapers",
        (
            "xenial", "cosmic", "disco", "eoan", "focal", "groovy", "hirsute", "impish", "kinetic",
            "lunar", "mantic",
        ),
        "share/backgrounds/budgie/*",
    ),
    _Series(
        "ubuntu-wallpapers", ("xenial", "yakkety", "zesty", "artful", "focal"),
        "share/backgrounds/*",
    ),
    _Series(
        "ubuntucinnamon-wallpapers", ("eoan", "focal", "groovy"),
        "share/backgrounds/ubuntucinnamon/*/*",
    ),
    _Series(
        "xubuntu-community-wallpapers", ("xenial", "bionic", "focal", "jammy"),
        "share/xfce4/backdrops/*",
    ),
)  # fmt: skip
PACKAGES = {"noble": tuple(package for series in _SERIES for package in series.packages)}


def iter_wallpapers(packages: Path) -> Iterator[tuple[Path, str]]:
    """The files of the free photos, and the license and author of each.

    packages: a folder that holds the packages, unpacked
    """
    for series in _SERIES:
        licenses = series.read_licenses(packages)
        for path in sorted(packages.rglob(series.files)):
            free = path.stem in licenses and not path.stem.startswith(_GENERATED)
            if free and path.suffix in _SUFFIXES:
                yield path, licenses[path.stem]
