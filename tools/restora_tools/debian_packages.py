"""Download packages of a named release of Debian or Ubuntu, whatever release this machine runs:
another one may hold other versions of the same photos."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from restora.models.download import open_answer

ARCHIVE = "https://deb.debian.org/debian"


def unpack_packages(
    names: Mapping[str, Sequence[str]],
    folder: Path,
    *,
    archive: str = ARCHIVE,
    section: str = "main/binary-all",
) -> None:
    """Download packages that fit every architecture, and unpack them into the folder.

    names: of the packages, by the code name of the release
    section: of the archive whose index lists them

    Raises DownloadError, and SystemExit if a release has no such package, if a file is not the one
    that the release lists, or without dpkg-deb.
    """
    if shutil.which("dpkg-deb") is None:
        every = ", ".join(name for some in names.values() for name in some)
        raise SystemExit(
            f"most photos are in Debian packages, and dpkg-deb is not on this machine: unpack "
            f"{every} elsewhere and give --packages FOLDER"
        )
    for release, wanted in names.items():
        index = _read(f"{archive}/dists/{release}/{section}/Packages.xz")
        files = _parse_index(lzma.decompress(index).decode(), set(wanted))
        for name in wanted:
            if name not in files:
                raise SystemExit(f"{archive} has no package {name} in {release}, {section}")
            path, sha256 = files[name]
            content = _read(f"{archive}/{path}")
            digest = hashlib.sha256(content).hexdigest()
            if digest != sha256:
                raise SystemExit(
                    f"{path} must have the SHA-256 {sha256}, as {release} lists it; it has "
                    f"{digest}: download it again"
                )
            package = folder / Path(path).name
            package.write_bytes(content)
            subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)  # noqa: S603, S607


def _parse_index(index: str, wanted: set[str]) -> dict[str, tuple[str, str]]:
    """Path and SHA-256 of each wanted package."""
    found = {}
    for paragraph in index.split("\n\n"):
        name = paragraph.removeprefix("Package: ").split("\n", 1)[0]
        if name in wanted:
            fields = dict(
                line.split(": ", 1)
                for line in paragraph.split("\n")
                if ": " in line and not line.startswith(" ")
            )
            found[name] = (fields["Filename"], fields["SHA256"])
    return found


def _read(url: str) -> bytes:
    with open_answer(url, 0) as answer:
        return b"".join(answer.chunks())
