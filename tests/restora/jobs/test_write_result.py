"""Facts about what is written of one photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restora.errors import UnsafePathError
from restora.faces.pipeline import FaceOutcome
from restora.image import Photo, read_photo
from restora.jobs.extras import Extras, FaceNames
from restora.jobs.output import WriteOptions, write_result
from restora.restoration import Restoration

BEFORE = Photo(np.full((4, 6, 3), 50, np.uint8))
AFTER = Photo(np.full((8, 12, 3), 60, np.uint8))


def face(level: int) -> FaceOutcome:
    pixels = np.full((8, 8, 3), level, np.uint8)
    return FaceOutcome((0.0, 0.0, 1.0, 1.0), 0.9, "restored", crop=pixels, restored=pixels)


def restoration(faces: int) -> Restoration:
    return Restoration(AFTER, "tiny", 2.0, 0.0, faces=tuple(face(10 * i) for i in range(faces)))


def test_extras_go_where_they_are_named_and_nowhere_else(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "a.png"
    target.parent.mkdir()
    extras = Extras(target.with_name("c.jpg"), FaceNames(tmp_path, Path("sub"), "s", "_x"))
    writing = WriteOptions(tmp_path, extras={target: extras})
    write_result(target, BEFORE, restoration(2), writing)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*g")}
    assert written == {
        "sub/a.png", "sub/c.jpg",
        *(f"cropped_faces/sub/s_0{i}.png" for i in (0, 1)),
        *(f"restored_faces/sub/s_0{i}_x.png" for i in (0, 1)),
        *(f"cmp/sub/s_0{i}.png" for i in (0, 1)),
    }  # fmt: skip
    assert set(extras.written(2)) == {tmp_path / path for path in written} - {target}
    assert sorted(extras.existing()) == sorted(extras.written(2))
    assert read_photo(tmp_path / "cmp" / "sub" / "s_01.png").pixels.shape == (8, 16, 3)


def test_a_result_without_extras_is_one_file(tmp_path: Path) -> None:
    other = Extras(tmp_path / "other_compare.jpg")
    writing = WriteOptions(extras={tmp_path / "other.png": other})
    write_result(tmp_path / "a.png", BEFORE, restoration(1), writing)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_faces_are_not_saved_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cmp").symlink_to(tmp_path / "elsewhere")
    target = tmp_path / "out" / "a.png"
    extras = Extras(faces=FaceNames(tmp_path / "out", Path(), "a"))
    with pytest.raises(UnsafePathError, match="outside"):
        write_result(
            target, BEFORE, restoration(1), WriteOptions(tmp_path / "out", extras={target: extras})
        )
    assert not target.exists()
    assert not list((tmp_path / "elsewhere").iterdir())
