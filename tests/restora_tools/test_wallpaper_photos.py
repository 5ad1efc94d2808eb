"""Wallpapers of Ubuntu and its flavors: only photos under CC0 and CC BY are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from restora_tools.wallpaper_photos import PACKAGES, iter_wallpapers

COPYRIGHT = """Files: *
Copyright: 2016, Somebody
License: CC-BY-SA-3.0

Files: usr/share/backgrounds/a_rock_by_ada.jpg
Copyright: Ada
License: CC0

Files: ai_generated_rock.jpg
Copyright: Ben
License: CC0

Files: named.png
Copyright: Eve
License: CC-BY-4.0
"""
FOLDERS = {
    "budgie-wallpapers-xenial": "backgrounds/budgie",
    "ubuntu-wallpapers-xenial": "backgrounds",
    "ubuntucinnamon-wallpapers-eoan": "backgrounds/ubuntucinnamon/focal",
    "xubuntu-community-wallpapers-xenial": "xfce4/backdrops",
}


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """Packages with one copyright file for each series, which lists nothing yet."""
    for package in FOLDERS:
        doc = tmp_path / "usr/share/doc" / package
        doc.mkdir(parents=True)
        (doc / "copyright").write_text("Files: *\nLicense: GPL-2\n")
    return tmp_path


@pytest.mark.parametrize(("package", "folder"), FOLDERS.items())
def test_photos_under_other_licenses_and_generated_ones_are_left_out(
    unpacked: Path, package: str, folder: str
) -> None:
    (unpacked / "usr/share/doc" / package / "copyright").write_text(COPYRIGHT)
    walls = unpacked / "usr/share" / folder
    walls.mkdir(parents=True)
    for name in (
        "a_rock_by_ada.jpg", "a_rock_by_ada.svg", "ai_generated_rock.jpg", "named.png",
        "unlisted.jpg",
    ):  # fmt: skip
        (walls / name).touch()
    assert list(iter_wallpapers(unpacked)) == [
        (walls / "a_rock_by_ada.jpg", "CC0, Ada"),
        (walls / "named.png", "CC-BY-4.0, Eve"),
    ]


def test_one_series_does_not_free_the_photos_of_another(unpacked: Path) -> None:
    """Debian's wallpapers, some of which are held out, lie in the folder of Ubuntu's."""
    (unpacked / "usr/share/doc/budgie-wallpapers-xenial/copyright").write_text(COPYRIGHT)
    walls = unpacked / "usr/share/backgrounds"
    walls.mkdir(parents=True)
    (walls / "a_rock_by_ada.jpg").touch()
    assert list(iter_wallpapers(unpacked)) == []


def test_each_package_with_a_copyright_file_is_downloaded() -> None:
    assert set(FOLDERS) <= set(PACKAGES["noble"])
