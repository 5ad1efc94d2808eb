"""Facts about measuring throughput: every measurement runs, on very little."""

from pathlib import Path
from typing import Any

import pytest

from restora.image import Photo, read_photo
from restora.image.probe import probe_file
from restora_benchmarks.bench.photos import Setting
from restora_tools.throughput.isolation import decoding_in_process
from restora_tools.throughput.paced import Pace, open_paced
from restora_tools.throughput.photos import make_files, measure
from restora_tools.throughput.scale import measure_scale
from restora_tools.throughput.ways import PhotoFile, through_the_flow

FAST = Pace(call_s=0.0, picture_s=0.0, tile=64)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restora_calibration.timing.PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[PhotoFile]:
    return make_files(tmp_path_factory.mktemp("photos"), 3, (64, 48), ".jpg")


def test_each_way_and_each_stage_is_measured(files: list[PhotoFile]) -> None:
    restorer, session = open_paced(FAST)
    with restorer:
        row = measure(restorer, files, 1, {})
    stages = {"decode", "restore", "encode"}
    ways = {"flow", "one after another", *(f"{name} alone" for name in stages)}
    assert set(row["photos_per_s"]) == ways
    assert row["slowest"] in stages
    assert set(row["busy"]) == stages
    # once before, then three ways in a turn that warms up and one that counts
    assert session.pictures == len(files) * (1 + 3 * 2)
    assert all(probe_file(file.target).width == 128 for file in files)


def test_photos_can_be_decoded_in_the_process_itself(
    files: list[PhotoFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def read_here(path: Path, **limits: Any) -> Photo:
        read.append(path)
        return read_photo(path, **limits)

    monkeypatch.setattr("restora_tools.throughput.isolation.read_photo", read_here)
    restorer, session = open_paced(FAST)
    with restorer, decoding_in_process():
        through_the_flow(restorer, files)
    assert sorted(read) == [file.source for file in files]
    assert session.pictures == len(files)


def test_the_command_is_measured_on_folders_of_each_size(tmp_path: Path) -> None:
    (row,) = measure_scale(tmp_path, Setting("cpu", "fp32"), counts=(2,))
    assert row["files"] == 2
    assert row["photos_per_s"] > 0
    assert row["peak_mb"] > 10
