"""Facts about `restora doctor`."""

from io import StringIO

from rich.console import Console

from restora.cli.doctor import Finding, findings_table


def test_extras_in_advice_keep_their_brackets() -> None:
    console = Console(width=120, record=True, file=StringIO())
    advice = "pip install 'restora[export]'"
    console.print(findings_table([Finding("export", "missing", "no torch [yet]", advice)]))
    text = console.export_text()
    assert advice in text
    assert "no torch [yet]" in text
