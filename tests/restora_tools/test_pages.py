"""Facts about the README and docs: what is generated is up to date, what is linked is there."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from restora_tools.pages import PAGES, fill_page
from restora_tools.speed_tables import choose_rows

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


def test_a_peer_that_is_faster_or_more_exact_than_restora_is_in_the_readme() -> None:
    def row(way: str, speed: float, psnr: float, precision: str = "fp32") -> dict[str, Any]:
        ours = way == "restora"
        return {
            "way": way, "mp_per_s": speed, "psnr_mean": psnr, "precision": precision, "ours": ours
        }  # fmt: skip

    rows = [
        row("eager PyTorch", 1, 90),
        row("ncnn", 4, 60),
        row("slow and rough", 0.9, 50),
        row("fastest", 5, 40),
        row("as exact", 2, 100),
        row("restora", 3, 86),
        row("restora", 2.5, 86),
        row("restora", 3.5, 50, "bf16"),
    ]
    shown = [(found["way"], found["mp_per_s"]) for found in choose_rows(rows)]
    assert shown == [
        ("fastest", 5),
        ("ncnn", 4),
        ("restora", 3.5),
        ("restora", 3),
        ("as exact", 2),
        ("eager PyTorch", 1),
    ]
