"""Wallpapers of Ubuntu Budgie: only photos under CC0 are taken."""

from __future__ import annotations

from pathlib import Path

from restora_tools.wallpaper_photos import iter_wallpapers

COPYRIGHT = """Files: *
Copyright: 2016, Somebody
License: CC-BY-SA-3.0

Files: a_rock_by_ada.jpg
Copyright: Ada
License: CC0

Files: ai_generated_rock.jpg
Copyright: Ben
License: CC0

Files: named.jpg
Copyright: Eve
License: CC-BY-4.0
"""


def test_photos_under_other_licenses_and_generated_ones_are_left_out(tmp_path: Path) -> None:
    doc = tmp_path / "usr/share/doc/budgie-wallpapers-xenial"
    walls = tmp_path / "usr/share/backgrounds/budgie"
    doc.mkdir(parents=True)
    walls.mkdir(parents=True)
    (doc / "copyright").write_text(COPYRIGHT)
    for name in ("a_rock_by_ada", "ai_generated_rock", "named", "unlisted"):
        (walls / f"{name}.jpg").touch()
    assert list(iter_wallpapers(tmp_path)) == [(walls / "a_rock_by_ada.jpg", "CC0, Ada")]
