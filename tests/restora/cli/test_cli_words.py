"""Facts about the command line itself: which words are flags, and what help pages show."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from restora.cli.app import make_command


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code, and everything that is printed."""
    with pytest.raises(SystemExit) as caught:
        make_command()(args=list(words), prog_name="restora")
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out + captured.err


def commands(group: Any, name: str = "") -> Iterator[str]:
    for inner_name, inner in getattr(group, "commands", {}).items():
        words = f"{name} {inner_name}".strip()
        yield words
        yield from commands(inner, words)


NAMES = sorted(commands(make_command().load_all()))


@pytest.mark.parametrize("value", ["--over_write.png", "--tile_pad", "--face_model=x.png"])
def test_a_value_that_looks_like_a_flag_stays_as_it_is(
    capsys: pytest.CaptureFixture[str], value: str
) -> None:
    code, words = run(capsys, "restore", "-i", value, "--tile_pad=10", "--pre_pad", "1")
    assert code == 2
    assert value in words


def test_long_options_may_be_written_with_underscores(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("restore", "-i", "no.png", "--tile", "32", "--tile_pad=16", "--max_pixels", "5")
    code, said = run(capsys, *words)
    assert code == 2
    assert "tile 32 and overlap 32" in said


def test_a_tile_pad_is_half_of_what_tiles_share(capsys: pytest.CaptureFixture[str]) -> None:
    """Tiles must be larger than their overlap: of 32 with a padding of 16 they are not."""
    refused = run(capsys, "restore", "-i", "no.png", "--tile", "32", "--tile-pad", "16")
    taken = run(capsys, "restore", "-i", "no.png", "--tile", "32", "--tile-pad", "15")
    assert "tile 32 and overlap 32" in refused[1]
    assert "overlap" not in taken[1]


@pytest.mark.parametrize("name", ["restore", "models", "bench compare"])
def test_verbose_is_taken_after_the_command_too(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for flag in ("-v", "--verbose"):
        assert "No such option" not in run(capsys, *name.split(), flag)[1]
        assert logging.getLogger().level == logging.INFO
        logging.getLogger().setLevel(logging.WARNING)


@pytest.mark.parametrize("name", NAMES)
def test_help_pages_are_wrapped_to_the_terminal_and_keep_brackets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    code, page = run(capsys, *name.split(), "--help")
    assert code == 0
    command = make_command().load_all()
    for word in name.split():
        command = command.commands[word]
    for paragraph in command.help.split("\n\n"):
        assert paragraph.replace("\\[", "[") in page


def test_an_extra_to_install_is_shown_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert "pip install 'restora[bench-peers]'" in run(capsys, "bench", "run", "--help")[1]


@pytest.mark.parametrize("command", ["restore", "video", "cluster"])
@pytest.mark.parametrize("outscale", ["inf", "1e200", "nan", "0", "-1"])
def test_an_enlargement_that_cannot_be_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, outscale: str
) -> None:
    pytest.importorskip("ray" if command == "cluster" else "av")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    source = tmp_path / "in" if command != "video" else tmp_path / "in" / "a.png"
    words = ["-i", str(source), "-o", str(tmp_path / "out"), f"--outscale={outscale}"]
    code, said = run(capsys, command, *words)
    assert code == 2
    assert "outscale must be a number above 0" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", ["9" * 400, "99999999999T", "nan", "-1"])
def test_a_memory_that_cannot_be_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, size: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    place = ["-i", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png")]
    assert run(capsys, "restore", *place, f"--memory={size}")[0] == 2
