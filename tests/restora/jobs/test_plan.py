"""Plans: which files are inputs, what they are, and where their results go."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from photo_runs import photo
from restora.errors import OptionError
from restora.image import PhotoHeader, PhotoLimits
from restora.jobs.inputs import Ext
from restora.jobs.plan import Job, Naming, measure, plan_jobs


def plan(
    source: Path, output: Path, *, ext: Ext = "auto", recursive: bool = False
) -> dict[str, str]:
    jobs = plan_jobs(source, output, Naming(ext), recursive=recursive)
    return {job.source.name: str(job.target.relative_to(output)) for job in jobs}


def test_results_keep_the_format_and_spelling_of_their_input(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.jpeg")
    photo(tmp_path / "in" / "b.tif")
    Image.new("RGB", (4, 4)).save(tmp_path / "in" / "c.bmp")
    (tmp_path / "in" / "d.dat").write_bytes((tmp_path / "in" / "a.jpeg").read_bytes())
    assert plan(tmp_path / "in", tmp_path / "out") == {
        "a.jpeg": "a.jpeg",
        "b.tif": "b.tif",
        "c.bmp": "c.png",
        "d.dat": "d.jpg",
    }


def test_two_inputs_never_share_a_result(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.jpg")
    photo(tmp_path / "in" / "a.png")
    planned = plan(tmp_path / "in", tmp_path / "out", ext="png")
    assert planned == {"a.jpg": "a.jpg.png", "a.png": "a.png.png"}


def test_subfolders_are_entered_only_when_asked_and_never_the_output(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "sub" / "b.png")
    photo(tmp_path / "in" / "out" / "c.png")
    photo(tmp_path / "in" / ".hidden" / "d.png")
    assert set(plan(tmp_path / "in", tmp_path / "in" / "out")) == {"a.png"}
    planned = plan(tmp_path / "in", tmp_path / "in" / "out", recursive=True)
    assert planned == {"a.png": "a.png", "b.png": "sub/b.png"}


def test_an_empty_folder_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(OptionError, match="holds no files"):
        plan(tmp_path / "in", tmp_path / "out")


def test_an_unexpected_error_while_planning_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b.png")

    def sniff(path: Path, **_: object) -> None:
        raise AssertionError(path)

    monkeypatch.setattr("restora.jobs.inputs.sniff_file", sniff)
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out", Naming())
    assert [job.target.name for job in jobs] == ["a.png", "b.png"]
    assert all(job.is_left for job in jobs)


def test_deep_folders_are_walked(tmp_path: Path) -> None:
    """Deeper than Python calls may be nested."""
    deep = tmp_path / "in"
    descriptor = None
    deep.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    descriptor = os.open("a.txt", os.O_CREAT | os.O_WRONLY, dir_fd=here)
    os.close(descriptor)
    os.close(here)
    (job,) = plan_jobs(deep, tmp_path / "out", Naming(), recursive=True)
    assert len(job.source.relative_to(deep).parts) == 1101
    subprocess.run(["rm", "-rf", str(deep)], check=True)


def test_a_folder_with_nothing_but_subfolders_names_the_option_for_them(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "sub" / "a.png")
    with pytest.raises(OptionError, match=r"holds no files, only folders: --recursive \(-r\)"):
        plan_jobs(tmp_path / "in", tmp_path / "out", Naming())


def test_a_header_does_not_count_once_its_file_is_replaced(tmp_path: Path) -> None:
    source = photo(tmp_path / "in" / "a.png")
    (job,) = measure([Job(source, tmp_path / "out" / "a.png")])
    assert job.known_header is not None
    assert job.pixels == 80
    photo(source, (30, 20))
    assert job.known_header is None


def test_headers_that_take_long_do_not_hold_up_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[float] = []

    def probe(paths: list[Path], *, limits: PhotoLimits) -> list[PhotoHeader | None]:
        allowed.append(limits.max_decode_s)
        return [None for _ in paths]

    monkeypatch.setattr("restora.jobs.plan.probe_all_isolated", probe)
    job = Job(photo(tmp_path / "a.png"), tmp_path / "b.png")
    for limit in (600, 2):
        assert measure([job], PhotoLimits(max_decode_s=limit)) == [job]
    assert allowed == [5, 2]


def test_a_link_that_may_not_be_read_ends_no_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As /proc/1/cwd is for other users."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").touch()
    (tmp_path / "in" / "cwd").symlink_to("a.txt")

    def refuse(path: object, **_: object) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "readlink", refuse)
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out", Naming())
    assert {job.source.name for job in jobs} == {"a.txt", "cwd"}
