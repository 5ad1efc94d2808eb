"""One photo from and to file objects: what holds for files holds for them too."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from photo_runs import Reports, photo
from restora import PhotoLimits, Restorer, RunOptions
from restora.errors import FileTooLargeError, ImageError, OptionError, OutputError
from restora.exit_codes import ExitCode
from restora.image import decode_photo
from restora.jobs.stream import restore_stream


@pytest.fixture(scope="module")
def restorer() -> Iterator[Restorer]:
    with Restorer(None) as found:
        yield found


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A photo's bytes; temporary files lie in tmp_path / "scratch"."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    return photo(tmp_path / "a.png", (10, 8)).read_bytes()


@pytest.mark.parametrize(
    ("ext", "format_"), [("auto", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")]
)
def test_the_result_has_the_format_of_the_option_or_is_png(
    restorer: Restorer, data: bytes, ext: str, format_: str
) -> None:
    target = io.BytesIO()
    options = RunOptions(ext=ext)  # type: ignore[arg-type]
    result = restore_stream(io.BytesIO(data), target, restorer, options=options)
    assert result.exit_code == ExitCode.OK
    restored = decode_photo(target.getvalue())
    assert (restored.format, restored.width, restored.height) == (format_, 20, 16)


def test_outcomes_and_progress_name_the_streams_and_nothing_stays(
    restorer: Restorer, data: bytes, tmp_path: Path
) -> None:
    reports = Reports()
    result = restore_stream(io.BytesIO(data), io.BytesIO(), restorer, progress=reports)
    (outcome,) = result.outcomes
    assert (outcome.input, outcome.output) == ("standard input", "standard output")
    assert reports.outcomes == {"standard input": outcome}
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_path_may_be_either_end(restorer: Restorer, data: bytes, tmp_path: Path) -> None:
    target = io.BytesIO()
    restore_stream(tmp_path / "a.png", target, restorer)
    restore_stream(io.BytesIO(data), tmp_path / "b.png", restorer)
    assert (tmp_path / "b.png").read_bytes() == target.getvalue()
    with pytest.raises(OptionError, match="exists already"):
        restore_stream(io.BytesIO(data), tmp_path / "b.png", restorer)


def test_a_photo_that_fails_writes_nothing_and_names_the_stream(
    restorer: Restorer, data: bytes, tmp_path: Path
) -> None:
    target = io.BytesIO()
    result = restore_stream(io.BytesIO(data[:-20]), target, restorer)
    (outcome,) = result.outcomes
    assert outcome.status == "failed"
    assert outcome.reason is not None
    assert outcome.reason.startswith("standard input")
    assert str(tmp_path) not in outcome.reason
    assert target.getvalue() == b""


@pytest.mark.parametrize("given", [b"", b"hello"])
def test_what_is_no_photo_fails_rather_than_being_skipped(
    restorer: Restorer, data: bytes, given: bytes
) -> None:
    result = restore_stream(io.BytesIO(given), io.BytesIO(), restorer)
    assert result.exit_code == ExitCode.ALL_FAILED


def test_a_source_beyond_the_limit_is_not_read_to_its_end(restorer: Restorer, data: bytes) -> None:
    source = io.BytesIO(bytes(5 << 20))
    options = RunOptions(limits=PhotoLimits(max_file_bytes=1 << 20))
    with pytest.raises(FileTooLargeError, match=r"^standard input holds more than 1048576 bytes"):
        restore_stream(source, io.BytesIO(), restorer, options=options)
    assert source.tell() < 5 << 20


def test_errors_before_the_run_name_no_temporary_file(
    restorer: Restorer, data: bytes, tmp_path: Path
) -> None:
    with pytest.raises(OptionError) as caught:
        restore_stream(io.BytesIO(data), io.BytesIO(), restorer, options=RunOptions(aligned=True))
    assert str(tmp_path) not in str(caught.value)


class Broken(io.RawIOBase):
    def write(self, data: object, /) -> int:
        raise OSError(28, "No space left on device")

    def read(self, size: int = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


def test_ends_that_break_are_typed_errors(restorer: Restorer, data: bytes) -> None:
    with pytest.raises(OutputError, match="standard output cannot be written: No space"):
        restore_stream(io.BytesIO(data), Broken(), restorer)
    with pytest.raises(ImageError, match="standard input cannot be read"):
        restore_stream(Broken(), io.BytesIO(), restorer)


def test_a_temporary_folder_that_is_gone_is_an_output_error(
    restorer: Restorer, data: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="temporary folder cannot be written"):
        restore_stream(io.BytesIO(data), io.BytesIO(), restorer)


def test_a_pipe_that_does_not_block_is_read_to_its_end(restorer: Restorer, data: bytes) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.write(write, data)
    os.close(write)
    with io.FileIO(read) as source:
        result = restore_stream(source, io.BytesIO(), restorer)
    assert result.exit_code == ExitCode.OK


def test_what_lies_beside_a_result_needs_a_file(restorer: Restorer, data: bytes) -> None:
    for options in (RunOptions(compare=True), RunOptions(save_faces=True)):
        with pytest.raises(OptionError, match="an output that is a file"):
            restore_stream(io.BytesIO(data), io.BytesIO(), restorer, options=options)
