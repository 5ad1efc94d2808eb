"""Facts about the table that `restora models` prints."""

from io import StringIO

import pytest
from rich.console import Console

from restora.cli.models import models_table
from restora.models import MODELS, ModelEntry, find_model


@pytest.fixture
def lines() -> list[str]:
    console = Console(width=80, file=StringIO(), record=True)
    console.print(models_table([find_model(name) for name in MODELS]))
    return console.export_text().splitlines()


@pytest.mark.parametrize("entry", MODELS.values(), ids=MODELS)
def test_a_model_is_one_line_with_its_license_and_size_at_80_columns(
    entry: ModelEntry, lines: list[str]
) -> None:
    (line,) = (line for line in lines if line.split()[:1] == [entry.name])
    assert entry.license in line
    if entry.size_bytes is not None:
        assert line.split()[-1] == str(round(entry.size_bytes / 1e6))


def test_purposes_are_whole(lines: list[str]) -> None:
    text = " ".join(" ".join(lines).split())
    assert all(entry.purpose in text for entry in MODELS.values())


def test_models_stand_under_their_kind(lines: list[str]) -> None:
    heads = [line.strip() for line in lines if line and not line.startswith((" ", "name"))]
    assert heads == list(dict.fromkeys(entry.kind for entry in MODELS.values()))
