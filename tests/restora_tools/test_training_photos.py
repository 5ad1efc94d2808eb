"""Collecting photos from packages: only the files that are listed, each in its folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restora_tools import training_photos
from restora_tools.packaged_photos import PHOTOS, PackagedPhoto, Use
from restora_tools.training_photos import collect


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpacked packages with a photo for each use."""
    folder = tmp_path / "packages" / "usr/share"
    folder.mkdir(parents=True)
    entries = []
    uses: tuple[tuple[str, Use], ...] = (
        ("wide", "training"), ("small", "held-out"), ("totara", "damaged"),
    )  # fmt: skip
    for name, use in uses:
        path = folder / f"{name}_by_nobody.png"
        width = 3200 if name == "wide" else 61
        Image.new("RGB", (width, 41), (9, 80, 200)).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        entries.append(PackagedPhoto(name, f"share/{path.name}", "CC0", digest, use))
    monkeypatch.setattr(training_photos, "PHOTOS", tuple(entries))
    monkeypatch.setattr(training_photos, "iter_game_photos", lambda _: ())
    wallpaper = tmp_path / "rock_by_ada.jpg"
    Image.new("RGB", (2400, 1600), (120, 110, 90)).save(wallpaper)
    monkeypatch.setattr(training_photos, "iter_wallpapers", lambda _: [(wallpaper, "CC0, Ada")])
    monkeypatch.setattr(training_photos, "TRAINING", ())
    monkeypatch.setattr(training_photos, "HELD_OUT", ())
    return tmp_path / "packages"


def test_large_photos_are_shrunk_and_each_is_listed_with_its_license(
    packages: Path, tmp_path: Path
) -> None:
    lines = collect(tmp_path / "out", packages)
    assert lines == [
        "training/wide.png: CC0", "held-out/small.png: CC0", "damaged/totara.png: CC0",
        "wallpapers/rock_by_ada.png: CC0, Ada",
    ]  # fmt: skip
    assert (tmp_path / "out/LICENSES.txt").read_text().splitlines() == lines
    with Image.open(tmp_path / "out/wallpapers/rock_by_ada.png") as photo:
        assert photo.size == (1200, 800)
    with Image.open(tmp_path / "out/training/wide.png") as photo:
        assert photo.size == (1600, 20)
    with Image.open(tmp_path / "out/held-out/small.png") as photo:
        assert photo.size == (60, 40)  # even sides
        assert (np.asarray(photo) == (9, 80, 200)).all()


def test_another_version_of_a_photo_is_refused(packages: Path, tmp_path: Path) -> None:
    (path,) = packages.rglob("small_by_nobody.png")
    path.write_bytes(b"something else")
    with pytest.raises(SystemExit, match="another version of this photo"):
        collect(tmp_path / "out", packages)


def test_a_photo_that_the_packages_lack_is_named(packages: Path, tmp_path: Path) -> None:
    (path,) = packages.rglob("wide_by_nobody.png")
    path.unlink()
    with pytest.raises(SystemExit, match="has no share/wide_by_nobody"):
        collect(tmp_path / "out", packages)


def test_a_photo_with_real_damage_comes_with_its_marks(packages: Path, tmp_path: Path) -> None:
    collect(tmp_path / "out", packages)
    with Image.open(tmp_path / "out/damaged/totara_mask.png") as marks:
        assert marks.size == (1048, 1342)
        assert set(np.unique(np.asarray(marks.convert("L")))) <= {0, 128, 255}


def test_photos_for_training_may_be_used_without_sharing_alike() -> None:
    for photo in PHOTOS:
        free = photo.license.startswith(("CC0,", "public domain,", "CC BY 2.0,", "CC BY 4.0,"))
        assert free or photo.use == "held-out"
    assert len({photo.name for photo in PHOTOS}) == len(PHOTOS)
