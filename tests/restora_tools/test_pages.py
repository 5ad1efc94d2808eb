"""README and docs: generated tables are current, and linked files exist."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from restora_tools.pages import PAGES, fill_page
from restora_tools.speed_tables import speed_table, summary_rows, whole_photo_table

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_tables_are_made_from_the_committed_results(page: Path) -> None:
    text = (ROOT / page).read_text()
    assert "<!-- end -->" in text
    assert fill_page(text, ROOT / "benchmarks" / "results") == text, "run `make pages`"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [
        target
        for target in targets
        if not target.startswith("http") and not (page.parent / target).exists()
    ]
    assert missing == []


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("old.jpg").write_bytes((files("restora") / "data" / "sample.jpg").read_bytes())
    exec(compile(example, "README.md", "exec"), {})
    assert Path("new.png").stat().st_size > 0


def test_the_readme_shows_every_peer_and_the_fastest_restora_of_each_precision() -> None:
    def row(
        way: str, model: str, mp_per_s: float, precision: str = "fp32", *, ours: bool = False
    ) -> dict[str, Any]:
        return {
            "way": way, "model": model, "mp_per_s": mp_per_s, "precision": precision, "ours": ours
        }  # fmt: skip

    rows = [
        row("restora cpu", "small", 2.0, ours=True),
        row("restora openvino", "small", 4.0, ours=True),
        row("restora openvino", "small", 8.0, "bf16", ours=True),
        row("restora cpu", "large", 0.02, ours=True),
        row("eager PyTorch", "small", 1.0),
        row("eager PyTorch", "large", 0.01),
        row("ncnn", "small", 16.0, "default"),
    ]
    assert summary_rows(rows, ["small", "large"]) == [
        ["eager PyTorch", "FP32", "1.0", "100"],
        ["ncnn", "default", "0.1", "–"],
        ["**restora**", "FP32", "0.2", "50"],
        ["**restora**", "bf16", "0.1", "–"],
    ]


def bench_row(way: str, mp_per_s: float, **more: Any) -> dict[str, Any]:
    row = {
        "suite": "tiles", "model": "small", "weights": "published", "way": way,
        "precision": "fp32", "ours": way.startswith("restora"), "side": 128, "batch": 1,
        "threads": 2, "mp_per_s": mp_per_s, "psnr_mean": 90.0, "psnr_min": 80.0,
    }  # fmt: skip
    return row | more


def bench_of(*rows: dict[str, Any]) -> dict[str, Any]:
    names = ("cpu", "onnxruntime", "openvino", "torch", "ncnn")
    return {"threads": 2, "machine": dict.fromkeys(names, "1") | {"memory_gib": 24}, "rows": rows}


def test_speeds_are_relative_to_the_fastest_peer_of_the_same_accuracy_and_size() -> None:
    exact = {"psnr_mean": 150.0, "psnr_min": 150.0}
    auto = {"runs_on": "ncnn 1.0, fp32"}
    table = speed_table(
        [
            bench_of(
                bench_row("restora auto", 3.0, **auto),
                bench_row("restora auto", 2.0, side=256, psnr_min=70.0, **auto),
                bench_row("eager PyTorch", 2.0, **exact),
                bench_row("eager PyTorch", 1.0, side=256, **exact),
                bench_row("OpenVINO", 9.0, precision="default", psnr_mean=50.0),
                bench_row("OpenVINO", 9.0, side=256, precision="default", psnr_mean=50.0),
                bench_row("OpenVINO", 99.0, batch=4, psnr_mean=90.0),
            )
        ]
    )
    auto_line, eager_line, openvino_line = table.splitlines()[2:5]
    assert auto_line == (
        "| small | **restora auto, FP32 (ncnn, FP32)** | 3 | 1.50 | 2 | 2.00 | 90.0 dB | 70.0 dB |"
    )
    assert eager_line == "| small | eager PyTorch, FP32 | 2 | 1.00 | 1 | 1.00 | (reference) |  |"
    assert "| 9 | 4.50 | 9 | 9.00 | 50.0 dB | 80.0 dB |" in openvino_line
    assert "The published models have their published weights." in table


def test_a_whole_photo_stands_beside_the_tiles_of_the_same_backend() -> None:
    photo = {"suite": "photo", "input_mp": 1.0, "seconds": {"median": 4.0}}
    table = whole_photo_table(
        [
            bench_of(
                bench_row("restora auto", 0.4, runs_on="ncnn 1.0, fp32"),
                bench_row("restora auto", 0.5, side=256, runs_on="ncnn 1.0, fp32"),
                bench_row("ncnn", 0.3, precision="default"),
                bench_row("session, auto", 0.45, **photo, ours=True),
                bench_row("command, auto", 0.25, **photo, ours=True, peak_mb=1500),
                bench_row("published way, ncnn", 0.2, **photo, precision="default"),
            )
        ]
    )
    assert table.splitlines()[2:] == [
        "| small | 1.0 MP | **`restora restore`, auto, FP32** | 4.0 | 0.25 | 0.5 | 1.50 GB |",
        "| small | 1.0 MP | ncnn, default, tiles of 200 px padded by 10 | 4.0 | 0.2 | 0.3 |  |",
    ]
