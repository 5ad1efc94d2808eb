"""One photo from file to file, in this process."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fakes import NearestSession, restorer_of
from photo_runs import Reports, photo
from restora.backends.base import Batch
from restora.errors import (
    DeviceMemoryError,
    NotAFileError,
    OptionError,
    RestoraError,
    SessionError,
    TruncatedImageError,
)
from restora.image import read_photo
from restora.jobs.file import restore_file
from restora.jobs.options import RunOptions


def test_a_photo_is_restored_into_a_file_or_a_folder(tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png", (10, 8))
    reports = Reports()
    with restorer_of(NearestSession()) as restorer:
        outcome = restore_file(source, tmp_path / "new.tif", restorer, progress=reports)
        named = restore_file(
            str(source), str(tmp_path / "out"), restorer, options=RunOptions(suffix="x", ext="jpg")
        )
    assert (outcome.input_size, outcome.output_size) == ((10, 8), (20, 16))
    assert read_photo(tmp_path / "new.tif").width == 20
    assert named.output == str(tmp_path / "out" / "a_x.jpg")
    assert (tmp_path / "out" / "a_x.jpg").exists()
    assert reports.outcomes == {"a.png": outcome}
    assert reports.parts[-1] == ("a.png", 320, 320)


def test_what_makes_the_photo_fail_is_raised_with_its_type(tmp_path: Path) -> None:
    class Full(NearestSession):
        def run(self, batch: Batch) -> Batch:
            raise DeviceMemoryError("the GPU is full")

    class Faulty(NearestSession):
        def run(self, batch: Batch) -> Batch:
            raise ZeroDivisionError("seven")

    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    good = photo(tmp_path / "a.png")
    with restorer_of(NearestSession()) as restorer:
        with pytest.raises(TruncatedImageError):
            restore_file(tmp_path / "bad.png", tmp_path / "out", restorer)
        with pytest.raises(OptionError, match="see restore_folder"):
            restore_file(tmp_path, tmp_path / "out", restorer)
    with pytest.raises(DeviceMemoryError, match="GPU is full"):
        restore_file(good, tmp_path / "out", lambda: restorer_of(Full()))
    with pytest.raises(RestoraError, match="ZeroDivisionError: seven"):
        restore_file(good, tmp_path / "out", lambda: restorer_of(Faulty()))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_result_that_exists_is_replaced_only_when_told(tmp_path: Path) -> None:
    source, target = photo(tmp_path / "a.png"), photo(tmp_path / "new.png", (3, 3))
    with restorer_of(NearestSession()) as restorer:
        with pytest.raises(OptionError, match="exists already"):
            restore_file(source, target, restorer)
        assert read_photo(target).width == 3
        restore_file(source, target, restorer, options=RunOptions(overwrite=True))
    assert read_photo(target).width == 20


def test_a_restorer_that_was_given_stays_open_and_one_that_was_opened_is_closed(
    tmp_path: Path,
) -> None:
    source = photo(tmp_path / "a.png")
    given, opened = restorer_of(NearestSession()), restorer_of(NearestSession())
    restore_file(source, tmp_path / "1.png", given)
    restore_file(source, tmp_path / "2.png", lambda: opened)
    given.restore(read_photo(source))
    given.close()
    with pytest.raises(SessionError, match="closed"):
        opened.restore(read_photo(source))


def test_with_a_journal_a_photo_is_restored_once(tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png")
    options = RunOptions(manifest=tmp_path / "rows.jsonl")
    with restorer_of(NearestSession()) as restorer:
        statuses = [
            restore_file(source, tmp_path / "new.png", restorer, options=options).status
            for _ in range(2)
        ]
    assert statuses == ["restored", "skipped"]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["event"] for row in rows] == ["begin", "end"]


def test_an_aligned_face_needs_a_restorer_with_faces(tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png")
    with (
        restorer_of(NearestSession()) as restorer,
        pytest.raises(OptionError, match="Restorer with faces"),
    ):
        restore_file(source, tmp_path / "out", restorer, options=RunOptions(aligned=True))


def test_a_pipe_is_refused_by_its_type(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with restorer_of(NearestSession()) as restorer, pytest.raises(NotAFileError):
        restore_file(tmp_path / "pipe.png", tmp_path / "new.png", restorer)
