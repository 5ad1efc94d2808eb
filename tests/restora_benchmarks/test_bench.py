"""Facts about `restora bench`: fair timing, results that can be read again, a report that stands
alone."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from restora.backends import CpuOptions
from restora.backends.base import Batch
from restora.backends.ncnn import module
from restora.backends.ncnn.module import VulkanDevice
from restora.backends.ncnn.session import NcnnSession
from restora.backends.trial import TrialResult, new_trial, write_trial
from restora.errors import OptionError
from restora_benchmarks.bench import ways
from restora_benchmarks.bench.ceiling import make_convolutions, make_products, measure_ceilings
from restora_benchmarks.bench.compare import compare_results, verdict
from restora_benchmarks.bench.models import find_model
from restora_benchmarks.bench.photos import Setting
from restora_benchmarks.bench.plots import make_plots
from restora_benchmarks.bench.report import make_report
from restora_benchmarks.bench.run import Plan, run_plan
from restora_benchmarks.bench.schema import check_result, read_result, write_result
from restora_benchmarks.bench.tiles import TURNS, Grid, measure_tiles
from restora_benchmarks.bench.ways import (
    OURS,
    PEERS,
    Runner,
    Way,
    WayNotHereError,
    find_way,
    key_of,
)
from restora_benchmarks.flops import count_flops

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "benchmarks" / "results").glob("bench-*.json"))
SMALL = {
    "models": ("tiny",),
    "sides": (16, 32),
    "batches": (1, 2),
    "megapixels": 0.01,
    "output_mps": (0.02, 0.05),
    "repeats": 1,
    "photo_repeats": 1,
    "threads": (1, 2),
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A whole result of the smallest network there is."""
    folder = tmp_path_factory.mktemp("bench")
    ways = [find_way(key) for key in ("restora cpu/fp32", "restora openvino/fp32")]
    ways += [way for way in PEERS if way.name in ("eager PyTorch", "OpenVINO")]
    settings = (Setting("cpu", "fp32"),)
    plan = Plan(ways=tuple(ways), settings=settings, folder=folder, **SMALL)  # type: ignore[arg-type]
    return run_plan(plan, lambda _words: None)


def test_ceilings_count_what_the_graphs_do() -> None:
    products = make_products(64)
    assert products.flops == 4 * 2 * 64**3
    convolutions = make_convolutions(16, channels=8)
    assert convolutions.flops == 4 * 2 * 16 * 16 * 8 * 8 * 9
    ceilings = measure_ceilings(1, repeats=1, side=96)
    assert ceilings["fp32"] > 0


def test_a_result_has_every_suite_and_can_be_read_again(
    result: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "bench.json"
    write_result(path, result)
    assert read_result(path) == json.loads(json.dumps(result))
    assert {row["suite"] for row in result["rows"]} == {"tiles", "photo", "size", "stages"}
    tiles = [row for row in result["rows"] if row["suite"] == "tiles"]
    assert len(tiles) == 4 * 4 * 2
    assert {row["threads"] for row in tiles} == {1, 2}
    exact = [row for row in tiles if row["precision"] == "fp32"]
    assert all(row["psnr_mean"] > 60 for row in exact)
    assert all(row["startup_s"] > 0 for row in tiles if row["threads"] == result["threads"])
    photo = {row["way"]: row for row in result["rows"] if row["suite"] == "photo"}
    assert photo["session, cpu"]["of_session"] == 1
    assert photo["Upsampler, cpu"]["of_session"] > 0
    assert "published way, eager PyTorch" in photo
    assert photo["command, cpu"]["peak_mb"] > 10


def test_a_row_says_whose_weights_were_measured_and_on_which_runtime(
    result: dict[str, Any],
) -> None:
    assert {row["weights"] for row in result["rows"]} == {"synthetic"}
    tiles = {row["way"]: row for row in result["rows"] if row["suite"] == "tiles"}
    assert re.fullmatch(r"ONNX Runtime [\d.]+, fp32", tiles["restora cpu"]["runs_on"])
    assert "runs_on" not in tiles["eager PyTorch"]


def test_accuracy_is_measured_against_eager_pytorch_even_if_that_is_not_timed(
    result: dict[str, Any], tmp_path: Path
) -> None:
    rows = [row for row in result["rows"] if row["suite"] == "tiles"]
    assert {row["way"] for row in rows if row["psnr_mean"] == 150} >= {"eager PyTorch"}
    model = find_model("tiny", tmp_path, lambda _words: None)
    exact = find_way("eager PyTorch/fp32").open(model, 1)
    worse = _Off(exact)
    way = Way("worse", "fp32", ours=False, open=lambda _model, _threads: worse)
    grid = Grid((16,), (1,), 1, repeats=7, probes=False)
    (row,) = measure_tiles(model, [way], grid, {}, tmp_path, lambda _words: None)
    # one level in each value: 20 log10(255)
    assert row["psnr_mean"] == row["psnr_min"] == 48.1
    assert len({tile.tobytes() for tile in worse.seen}) == TURNS


class _Off:
    """Runs another runner, and changes each value by one level."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.seen: list[Batch] = []

    def run(self, batch: Batch) -> Batch:
        self.seen.append(batch)
        result = self._runner.run(batch)
        return np.where(result < 255, result + 1, result - 1).astype(np.uint8)

    def close(self) -> None:
        pass


def test_auto_runs_what_a_trial_found_fastest_and_makes_the_trial_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_TRIALS", str(tmp_path / "trials"))
    model = find_model("tiny", tmp_path, lambda _words: None)
    cpu = CpuOptions(threads=1)
    result = TrialResult("ncnn", "fp32", 1.0)
    write_trial(new_trial(model.artifact, cpu, side=16, results=[result]))
    session = find_way("restora auto/fp32").open(model, 1)
    assert isinstance(session, NcnnSession)
    tuned: list[Path] = []
    monkeypatch.setattr(ways, "tune", lambda path, _options, **_: tuned.append(path))
    find_way("restora auto/default").open(model, 2)
    assert tuned == [model.path]


def test_gflops_are_counted_off_the_graph(result: dict[str, Any], tmp_path: Path) -> None:
    model = find_model("tiny", tmp_path, lambda _words: None)
    row = next(row for row in result["rows"] if row["suite"] == "tiles" and row["batch"] == 2)
    flops = 2 * count_flops(model.artifact.onnx, batch=1, height=row["side"], width=row["side"])
    assert row["gflops"] == pytest.approx(flops / row["seconds"]["median"] / 1e9, abs=0.1)


def test_a_foreign_result_is_refused_with_the_place(result: dict[str, Any], tmp_path: Path) -> None:
    broken = copy.deepcopy(result)
    del broken["rows"][0]["psnr_mean"]
    with pytest.raises(OptionError, match=r"rows/0: 'psnr_mean' is a required property"):
        check_result(broken, name="it")
    with pytest.raises(OptionError, match="is of format 2, this restora reads 1"):
        check_result({**result, "version": 2}, name="it")
    (tmp_path / "no.json").write_text("[")
    with pytest.raises(OptionError, match="cannot be read"):
        read_result(tmp_path / "no.json")


def test_a_comparison_tells_a_change_from_noise(result: dict[str, Any]) -> None:
    faster, noisy = copy.deepcopy(result), copy.deepcopy(result)
    for row in faster["rows"]:
        for name in ("median", "p95", "p99", "fastest", "slowest"):
            if "seconds" in row:
                row["seconds"][name] /= 4
    for row in noisy["rows"]:
        if "seconds" in row:
            row["seconds"]["slowest"] *= 100
            row["seconds"]["fastest"] /= 100
    rows = compare_results(result, faster)
    assert rows
    assert all(row["ratio"] == pytest.approx(4, rel=0.02) for row in rows)
    assert {verdict(row) for row in compare_results(result, noisy)} == {"within the spread"}
    one_run = [row for row in rows if row["suite"] == "size"]
    assert {verdict(row) for row in one_run} == {"faster"}


def test_the_report_needs_nothing_from_outside(result: dict[str, Any]) -> None:
    page = make_report(result)
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    assert "@import" not in page
    plots = make_plots(result["rows"])
    assert set(plots) == {
        "tiny: latency against tile",
        "tiny: throughput against batch",
        "tiny: throughput against threads",
        "tiny: accuracy against speed",
        "tiny: a whole photo",
        "time and memory against the size of the result",
        "where the time of one photo goes",
    }
    assert page.count("<svg") == len(plots)


def test_the_same_result_gives_the_same_report(result: dict[str, Any]) -> None:
    assert make_report(result) == make_report(result)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_a_committed_result_is_sound(path: Path) -> None:
    models = {row["model"] for row in read_result(path)["rows"]}
    page = make_report(read_result(path))
    assert all(model in page for model in models)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium")
@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_a_browser_shows_the_report(path: Path, tmp_path: Path) -> None:
    """Of each committed result; headless and without a network; the picture shows the colored
    lines of the plots."""
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(make_report(read_result(path)))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1300,1600"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--screenshot={picture}"]
    subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=120)
    pixels = cv2.imread(str(picture)).astype(int)
    colorful = np.ptp(pixels, axis=2) > 60
    assert colorful.mean() > 0.0005


def test_the_command_measures_compares_and_reports(tmp_path: Path) -> None:
    from restora.cli.bench import bench_app

    runner = CliRunner()
    output = tmp_path / "mine.json"
    words = ["run", "-o", str(output), "-m", "tiny", "--suites", "tiles", "--tiles", "16"]
    words += ["--batches", "1", "--repeats", "1", "--no-probes", "--backends", "restora cpu/fp32"]
    done = runner.invoke(bench_app, words)
    assert done.exit_code == 0, done.output
    assert "restora cpu, fp32" in done.output
    assert output.with_suffix(".html").exists()
    done = runner.invoke(bench_app, ["compare", str(output), str(output)])
    assert "within the spread" in done.output or "1.00" in done.output
    done = runner.invoke(bench_app, ["report", str(output), "-o", str(tmp_path / "again.html")])
    assert (tmp_path / "again.html").exists()
    done = runner.invoke(bench_app, ["run", "--suites", "all"])
    assert done.exit_code == 2


def test_ways_are_found_by_their_names() -> None:
    for way in (*OURS, *PEERS):
        assert find_way(key_of(way)) is way
    with pytest.raises(OptionError, match="unknown backend"):
        find_way("abacus/fp32")
    with pytest.raises(OptionError, match="unknown model"):
        find_model("nothing", Path(), lambda _words: None)


def test_a_gpu_that_computes_on_the_cpu_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    software = VulkanDevice(0, "lavapipe", software=True)
    monkeypatch.setattr(module, "import_ncnn", lambda: None)
    monkeypatch.setattr(module, "choose_device", lambda *_: software)
    model = find_model("restora-lite-x2", tmp_path, lambda _words: None)
    with pytest.raises(WayNotHereError, match="lavapipe computes on the CPU"):
        find_way("restora ncnn-vulkan/fp16").open(model, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"suites": ("tiles", "all")}, "suites must be some of tiles"),
        ({"sides": (128, 0)}, "sides must be numbers above 0"),
        ({"batches": ()}, "batches must be numbers above 0"),
        ({"megapixels": float("nan")}, "megapixels must be numbers above 0"),
        ({"output_mps": (float("inf"),)}, "output_mps must be numbers above 0"),
        ({"photo_ways": ("session", "guess")}, "photo_ways must be some of session, Upsampler"),
        ({"threads": (-1,)}, "threads must be numbers of at least 0"),
    ],
)
def test_a_plan_that_cannot_be_measured_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Plan(**values)
    assert Plan(threads=(0, 2)).threads == (0, 2)
