"""Facts about sizes of memory: one way to write them for all options."""

import importlib

import pytest
import typer
from typer.testing import CliRunner

from restora.byte_size import parse_size
from restora.errors import MissingBackendError, OptionError

build_command = importlib.import_module("restora.cli.build")
prebuild = importlib.import_module("restora.backends.tensorrt.prebuild")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2 << 30),
        ("4GiB", 4 << 30),
        ("512m", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("64kb", 65536),
        ("1000", 1000),
        (" 1 T ", 1 << 40),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *("", "much", "2 gigs", "-1G", "G", "0", "0.1", "1e9", "nan", "inf", "٣G"),
        *("9" * 30, "9" * 400 + "G", "99999999999T", "9223372036854775808"),
    ],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="512M or 2G"):
        parse_size(text)


@pytest.mark.parametrize(("size", "code"), [("4GiB", 6), ("much", 2), ("9" * 400, 2)])
def test_the_workspace_of_a_build_is_such_a_size_too(
    size: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build without a driver ends with 6, after its options were looked at."""

    def refuse() -> None:
        raise MissingBackendError("no driver")

    monkeypatch.setattr(prebuild, "require_driver", refuse)
    app = typer.Typer()
    app.command()(build_command.build)
    assert CliRunner().invoke(app, ["restora-lite-x2", "--workspace", size]).exit_code == code
