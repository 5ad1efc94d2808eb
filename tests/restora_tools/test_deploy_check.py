"""The check of deploy/ asks its tools about every file, and tells what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from restora_tools.deploy_check import expressions_of, iter_problems

ROOT = Path(__file__).parents[2]
TOOLS = ("hadolint", "kubernetes-validate", "check-jsonschema", "python")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that accept everything but what a file named `bad` names."""
    monkeypatch.chdir(ROOT)
    for name in TOOLS:
        program = tmp_path / name
        program.write_text(
            f"#!{sys.executable}\nimport sys, pathlib\n"
            f"bad = pathlib.Path({str(tmp_path / 'bad')!r})\n"
            "if bad.exists() and bad.read_text() in ' '.join(sys.argv): sys.exit('it is wrong')\n"
        )
        program.chmod(0o755)
    return tmp_path


def test_every_file_is_checked(tools: Path) -> None:
    checked = dict(iter_problems(tools))
    assert set(checked.values()) == {""}
    deploy = ROOT / "deploy"
    for path in [*deploy.glob("*.Dockerfile"), *(deploy / "kubernetes").glob("*.yaml")]:
        assert str(path.relative_to(ROOT)) in checked
    assert {"deploy/compose.yaml", "deploy/grafana/restora.json"} <= checked.keys()


def test_what_a_tool_says_is_told(tools: Path) -> None:
    (tools / "bad").write_text("service.Dockerfile")
    wrong = {name: problem for name, problem in iter_problems(tools) if problem}
    assert wrong == {"deploy/service.Dockerfile": "it is wrong\n"}


def test_queries_have_no_variables_of_grafana_left() -> None:
    found = expressions_of(ROOT / "deploy" / "grafana" / "restora.json")
    assert len(found) > 20
    assert not [text for text in found if "$" in text]
