"""The files around the code agree with it: changelog, documentation site, workflows, metadata."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

import restora

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PREFIX = "Programming Language :: Python :: "
PYTHONS = [c.removeprefix(PREFIX) for c in PROJECT["classifiers"] if re.match(rf"{PREFIX}3\.", c)]
RELATIVE_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


# --- changelog and release notes


def test_the_newest_section_of_the_changelog_is_unreleased_or_the_version_of_the_code() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [h for h in headings if h != "[Unreleased]"]
    assert headings, "CHANGELOG.md has no section"
    assert headings[0] == "[Unreleased]" or released == headings
    for heading in released:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)
    if headings[0] != "[Unreleased]":
        assert headings[0].startswith(f"[{restora.__version__}]")


def test_changes_are_grouped_as_keep_a_changelog_names_them() -> None:
    groups = re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert set(groups) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def _script(tmp_path: Path, name: str) -> Path:
    """A copy of a script of .ci in an empty project, which is all that it then sees."""
    (tmp_path / ".ci").mkdir()
    return Path(shutil.copy2(ROOT / ".ci" / name, tmp_path / ".ci" / name))


def test_release_notes_are_the_section_of_one_version(tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n## [1.1.0] - 2026-01-02\n\n### Fixed\n\n- This.\n\n"
        "## [1.0.0] - 2026-01-01\n\n- That.\n\n[1.0.0]: https://example.org\n"
    )
    script = _script(tmp_path, "release-notes")
    new = subprocess.run([script, "1.1.0"], capture_output=True, text=True, check=True)
    old = subprocess.run([script, "1.0.0"], capture_output=True, text=True, check=True)
    assert new.stdout == "### Fixed\n\n- This.\n"
    assert old.stdout == "- That.\n"


@pytest.mark.parametrize("version", ["Unreleased", "1.0", "2.0.0"])
def test_a_version_without_changes_has_no_release_notes(tmp_path: Path, version: str) -> None:
    (tmp_path / "CHANGELOG.md").write_text(
        "## [Unreleased]\n\n## [1.0.0] - 2026-01-01\n\n- That.\n"
    )
    result = subprocess.run(
        [_script(tmp_path, "release-notes"), version], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert f"no changes under [{version}]" in result.stderr


def test_a_release_is_not_checked_where_no_python_is_there(tmp_path: Path) -> None:
    result = subprocess.run(
        [_script(tmp_path, "release-check")],
        env=os.environ | {"PYTHONS": "python3.99"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "python3.99: not on this machine, skipped" in result.stdout
    assert "none of these Pythons is on this machine" in result.stderr


# --- the documentation site


def _pages_in(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            if isinstance(value, str):
                yield value
            else:
                yield from _pages_in(value)


def test_the_navigation_holds_each_page_once() -> None:
    pages = list(_pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(pages) == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))


class _Loads(HTMLParser):
    """Collects what a browser loads to show a page; links that a reader follows are not loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.widgets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        loading = {"src", "srcset", "poster", "data"} | ({"href"} if tag == "link" else set())
        self.addresses += [values[name] for name in loading & values.keys()]
        # the theme loads a script for diagrams, and the repository's stars, from the network
        if "mermaid" in values.get("class", "") or values.get("data-md-component") == "source":
            self.widgets.append(tag)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # not --quiet: it hides warnings from --strict too
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def _from_network(address: str) -> bool:
    return address.strip(" \"'").startswith(("http:", "https:", "//"))


def test_the_site_builds_and_no_page_loads_anything_from_the_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md")))  # the pages and 404.html
    for page in pages:
        loads = _Loads()
        loads.feed(page.read_text())
        assert loads.addresses, page.name
        assert [a for a in loads.addresses if _from_network(a)] == [], page.name
        assert loads.widgets == [], page.name


def test_no_style_sheet_loads_anything_from_the_network(site: Path) -> None:
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        text = sheet.read_text()
        loads = re.findall(r"url\(([^)]*)\)", text) + re.findall(r"@import\s+([^;]*)", text)
        assert [a for a in loads if _from_network(a)] == [], sheet.name


# --- links, workflows, pins, metadata


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_to_files_of_the_repository(name: str) -> None:
    targets = RELATIVE_LINK.findall((ROOT / name).read_text())
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_contributors_are_sent_to_paths_that_exist() -> None:
    paths = re.findall(r"`([\w./]+/[\w./]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _commands_of(workflow: Path) -> Iterator[str]:
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        yield from (step["run"] for step in job.get("steps", ()) if "run" in step)


def _made(script: str) -> set[str]:
    """The targets of all calls of make in a script."""
    calls = re.findall(r"^\s*make ([^\n>|;&]*)", script, re.MULTILINE)
    return {
        word for call in calls for word in call.split() if re.fullmatch(r"[a-z][a-z0-9-]*", word)
    }


def test_workflows_and_ci_call_only_targets_that_exist() -> None:
    made = {p.name: _made("\n".join(_commands_of(p))) for p in WORKFLOWS}
    made["run"] = _made((ROOT / ".ci" / "run").read_text())
    assert all(made.values()), "each of them calls make"
    assert set().union(*made.values()) <= _targets()
    assert made["ci.yml"] == made["run"]


def test_make_help_lists_each_target() -> None:
    shown = subprocess.run(
        ["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[0] for line in shown.splitlines()} == _targets()


def test_ci_runs_each_python_that_the_package_names() -> None:
    jobs = {p.name: yaml.safe_load(p.read_text())["jobs"] for p in WORKFLOWS}
    assert jobs["ci.yml"]["test"]["strategy"]["matrix"]["python"] == PYTHONS
    setup = [
        s for s in jobs["release.yml"]["build"]["steps"] if "setup-python" in s.get("uses", "")
    ]
    assert setup[0]["with"]["python-version"].split() == PYTHONS
    assert " ".join(f"python{v}" for v in PYTHONS) in (ROOT / ".ci" / "release-check").read_text()
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


def test_hooks_before_a_commit_use_the_checkers_of_ci() -> None:
    pins = set((ROOT / "requirements" / "ci.txt").read_text().split())
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    used = {pin for hook in hooks for pin in hook.get("additional_dependencies", ())}
    assert all("==" in pin for pin in used)
    assert {pin for pin in used if pin.startswith("ruff")} <= pins
    assert any(pin.startswith("ruff==") for pin in used)


def test_each_dependency_is_imported_by_the_package() -> None:
    source = "\n".join(p.read_text() for p in (ROOT / "engine" / "restora").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE))
    modules: dict[str, set[str]] = {}
    for module, packages in importlib.metadata.packages_distributions().items():
        for package in packages:
            modules.setdefault(package.lower(), set()).add(module)
    names = [re.split(r"[<>=\[~! ]", d)[0] for d in PROJECT["dependencies"]]
    assert [n for n in names if not modules.get(n.lower(), {n}) & imported] == []


def test_forms_for_issues_can_be_read() -> None:
    for form in ("bug.yml", "feature.yml"):
        content = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / form).read_text())
        asked = [field["id"] for field in content["body"] if field["type"] != "markdown"]
        assert asked
        assert len(asked) == len(set(asked))
