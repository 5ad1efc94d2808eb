"""Facts about the temporary files that results are written through."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from restora.atomic import MOST_NAME_BYTES, remove_partial, shorten, write_atomically
from restora.errors import OutputError


def leave_partial(target: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write `target` in a process that dies before the rename; the name of what it leaves."""
    before = set(target.parent.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: None)
        write_atomically(target, b"half")
    (partial,) = set(target.parent.iterdir()) - before
    return partial.name


@pytest.mark.parametrize("stem", ["写" * 83, "é" * 125, "x" * 251, "a"])
def test_every_name_that_a_file_may_have_can_be_written(stem: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.png"
    write_atomically(path, b"data")
    assert path.read_bytes() == b"data"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_too_long_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(tmp_path / ("x" * 256), b"data")


def test_partial_files_of_a_killed_process_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "写" * 83 + ".png", "[a]*?.png"):
        leave_partial(tmp_path / name, monkeypatch)
        remove_partial(tmp_path / name)
        assert not list(tmp_path.iterdir())
    remove_partial(tmp_path / "no folder" / "a.png")


def test_partial_files_of_other_results_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be being written just now."""
    long = "x" * 245
    others = ["a.png.png", "a.png.1.png", f"{long}1.png"]
    partials = {leave_partial(tmp_path / name, monkeypatch) for name in others}
    (tmp_path / ".a.png.notes.part").write_text("of the user")
    remove_partial(tmp_path / "a.png")
    remove_partial(tmp_path / f"{long}2.png")
    assert {path.name for path in tmp_path.iterdir()} == {*partials, ".a.png.notes.part"}


def test_short_names_are_cut_between_characters_and_differ() -> None:
    names = ["é" * 200 + ending for ending in ("1", "2")]
    short = [shorten(name) for name in names]
    assert short[0] != short[1]
    for name in short:
        assert len(name.encode()) <= MOST_NAME_BYTES  # strict: no half characters
    assert shorten("a" * MOST_NAME_BYTES) == "a" * MOST_NAME_BYTES


@pytest.mark.parametrize("name", [".", "", "/", "a\0b", "\ud800.png"])
def test_what_is_no_name_is_an_output_error(name: str) -> None:
    with pytest.raises(OutputError, match="no name"):
        write_atomically(Path(name), b"data")
