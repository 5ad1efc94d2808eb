"""README and docs: generated tables are current, and linked files exist."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from restora_tools.pages import PAGES, fill_page
from restora_tools.speed_tables import summary_rows

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
