"""Facts about `restora doctor`."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from restora.cli.doctor import Finding, examine, findings_table


def test_extras_in_advice_keep_their_brackets() -> None:
    console = Console(width=120, record=True, file=StringIO())
    advice = "pip install 'restora[export]'"
    console.print(findings_table([Finding("export", "missing", "no torch [yet]", advice)]))
    text = console.export_text()
    assert advice in text
    assert "no torch [yet]" in text


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    for name in ("HOME", "XDG_CACHE_HOME", "RESTORA_MODELS", "RESTORA_PLANS"):
        monkeypatch.delenv(name, raising=False)
    found = {finding.what: finding for finding in examine()}
    assert (found["model folder"].state, found["model folder"].advice) == (
        "failed",
        "set RESTORA_MODELS",
    )
    assert found["default model"].state == "ok"
    for what in ("face model", "face detector"):
        assert "None" not in found[what].advice
