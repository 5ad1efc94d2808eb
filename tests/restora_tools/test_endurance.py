"""Facts about the endurance check itself, and a small one of its runs."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from restora import read_photo
from restora.errors import ImageError
from restora_tools.endurance.check import check_manifest, check_outputs
from restora_tools.endurance.hostile import make_hostile
from restora_tools.endurance.pictures import PictureFile, make_broken, make_good, write_all
from restora_tools.endurance.run import check_bounded, check_run
from restora_tools.endurance.runs import run_killed_at

KINDS = 19  # that make_good goes through


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, PictureFile]]:
    folder = tmp_path_factory.mktemp("endurance") / "in"
    return folder, write_all(chain(make_good(2 * KINDS), make_broken()), folder)


def test_good_files_are_read_and_broken_ones_fail_as_they_should(
    files: tuple[Path, dict[str, PictureFile]],
) -> None:
    folder, by_name = files
    for name, file in by_name.items():
        if file.error is None:
            photo = read_photo(folder / name)
            assert (photo.width, photo.height) == file.size, name
            continue
        with pytest.raises(ImageError) as caught:
            read_photo(folder / name)
        assert type(caught.value).__name__ == file.error, name


def test_40_files_are_broken_in_every_way() -> None:
    errors = Counter(file.error for file in make_broken())
    assert errors.total() == 40
    assert set(errors) == {
        "TruncatedImageError",
        "UnknownFormatError",
        "ImageTooLargeError",
        "AnimatedImageError",
        "UnsupportedImageError",
        "ImageError",
    }


@pytest.mark.slow
def test_files_made_to_hurt_get_one_row_each_in_bounded_memory(tmp_path: Path) -> None:
    files = make_hostile()
    errors = Counter(file.error for file in files if file.error is not None)
    assert errors.total() > 100
    row = check_bounded(tmp_path, "hostile files", files)
    assert row["outputs"] == len(files) - errors.total()
    assert row["errors"] == errors


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_let_alone(
    files: tuple[Path, dict[str, PictureFile]], tmp_path: Path
) -> None:
    folder, by_name = files
    digests = []
    for kills in ((), (8, 20)):
        output = tmp_path / f"out-{len(kills)}"
        words = ["restore", "-i", str(folder), "-o", str(output), "--backend", "cpu", "--json"]
        run = run_killed_at(words, output, kills)
        assert run.kills == len(kills)
        digests.append(check_run(run, by_name, output))
    assert len(digests[0]) == 2 * KINDS
    assert digests[0] == digests[1]


def test_the_check_finds_what_is_lost_wrong_or_done_twice(tmp_path: Path) -> None:
    by_name = {"a.png": next(iter(make_good(2))), "b.png": make_broken()[0]}
    with pytest.raises(AssertionError, match="every input has a row"):
        check_outputs([], by_name, tmp_path)
    rows = [
        {"input": "a.png", "status": "failed", "error_type": "ImageError"},
        {"input": "b.png", "status": "failed", "error_type": "OptionError"},
    ]
    with pytest.raises(AssertionError, match=r"a\.png is done"):
        check_outputs(rows, by_name, tmp_path)
    with pytest.raises(AssertionError, match="fails with TruncatedImageError"):
        check_outputs(rows[1:], {"b.png": by_name["b.png"]}, tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    line = '{"event": "end", "input": "a.png", "status": "restored"}\n'
    manifest.write_text(2 * line)
    with pytest.raises(AssertionError, match="nothing is done twice"):
        check_manifest(manifest, {"a.png": by_name["a.png"]})
