"""Photos of things, animals and places: wallpapers of Ubuntu Budgie, 3840 pixels wide.

The copyright file of each package says who took each photo and what its license is. Those under
CC0 are taken, but for the few that a model generated.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from restora_tools.package_licenses import find_file, read_licenses

ARCHIVE = "https://archive.ubuntu.com/ubuntu"
SECTION = "universe/binary-amd64"
PACKAGES = {
    "noble": tuple(
        f"budgie-wallpapers-{release}"
        for release in (
            "cosmic", "disco", "eoan", "focal", "groovy", "hirsute", "impish", "kinetic", "lunar",
            "mantic", "xenial",
        )
    )
}  # fmt: skip
_COPYRIGHT = "doc/budgie-wallpapers-xenial/copyright"  # lists the photos of all packages
_FOLDER = "share/backgrounds/budgie"
_GENERATED = "ai_generated"


def iter_wallpapers(packages: Path) -> Iterator[tuple[Path, str]]:
    """The files of the free photos, and the license and author of each.

    packages: a folder that holds the packages, unpacked
    """
    licenses = read_licenses(find_file(packages, _COPYRIGHT))
    for path in sorted(packages.rglob(f"{_FOLDER}/*.jpg")):
        terms = licenses.get(path.stem, "")
        if terms.startswith("CC0") and not path.stem.startswith(_GENERATED):
            yield path, terms
