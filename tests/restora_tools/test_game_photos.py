"""Photos in Qt resource files: read by their licenses in a copyright file."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image

from restora_tools.game_photos import GAMES, iter_game_photos
from restora_tools.qt_resources import iter_resources

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: src/categorization/free.jpg
       src/categorization/tiny.jpg
Copyright: 2014, Ada
License: CC-BY-2.0
Comment: found somewhere

Files: src/categorization/alike.jpg
Copyright: Ben
License: CC-BY-SA-3.0

Files: src/explore_world_animals/moose.png
Copyright: none
License: public-domain
 Nobody holds rights.
"""


def write_rcc(files: dict[str, bytes], *, version: int = 2, flags: int = 0) -> bytes:
    """A resource file with a folder `gcompris`, its folders, and files in them."""
    paths = {tuple(path.strip("/").split("/")) for path in files}
    # the children of a folder follow one another
    every = {path[:end] for path in paths for end in range(len(path) + 1)}
    nodes = sorted(every, key=lambda path: (len(path), path))
    index = {path: number for number, path in enumerate(nodes)}
    tree, names, data = b"", b"", b""
    for path in nodes:
        name = path[-1] if path else ""
        head = struct.pack(">I", len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        children = [index[other] for other in nodes if other and other[:-1] == path]
        if path in paths:
            content = files["/" + "/".join(path)]
            tree += head + struct.pack(">HHHI", flags, 0, 0, len(data))
            data += struct.pack(">I", len(content)) + content
        else:
            tree += head + struct.pack(">HII", 2, len(children), min(children))
        tree += b"" if version < 2 else bytes(8)
    start = 20
    offsets = (start, start + len(tree), start + len(tree) + len(data))
    return b"qres" + struct.pack(">4I", version, *offsets) + tree + data + names


def picture(side: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), (1, 2, 3)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_files_of_a_resource_file_are_read_by_their_paths(version: int) -> None:
    files = {"/game/a.png": b"one", "/game/b.png": b"two", "/other/c": b""}
    assert dict(iter_resources(write_rcc(files, version=version))) == files


def test_compressed_files_are_left_out() -> None:
    assert not dict(iter_resources(write_rcc({"/game/a": b"x"}, flags=1)))


@pytest.mark.parametrize("content", [b"", b"qres", b"x" * 40, write_rcc({"/a/b": b"1"})[:60]])
def test_what_is_no_resource_file_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="Qt resource file"):
        dict(iter_resources(content))


def test_photos_are_taken_only_under_licenses_that_do_not_ask_to_share_alike(
    tmp_path: Path,
) -> None:
    doc, rcc = tmp_path / "doc/gcompris-qt-data", tmp_path / "rcc"
    doc.mkdir(parents=True)
    rcc.mkdir()
    (doc / "copyright").write_text(COPYRIGHT)
    sides = {"free": 200, "tiny": 40, "alike": 200, "unlisted": 200}
    files = {f"/gcompris/src/{GAMES[0]}/{n}.webp": picture(side) for n, side in sides.items()}
    (rcc / f"{GAMES[0]}.rcc").write_bytes(write_rcc(files))
    files = {f"/gcompris/src/{GAMES[1]}/moose.webp": picture(128)}
    (rcc / f"{GAMES[1]}.rcc").write_bytes(write_rcc(files))
    found = {photo.name: photo for photo in iter_game_photos(tmp_path)}
    assert {name: photo.license for name, photo in found.items()} == {
        "free": "CC-BY-2.0, 2014, Ada",
        "moose": "public-domain, none",
    }
    assert found["free"].pixels.shape == (200, 200, 3)


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="gcompris-qt-data/copyright"):
        list(iter_game_photos(tmp_path))
