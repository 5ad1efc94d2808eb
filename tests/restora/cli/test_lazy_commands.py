"""Facts about the tree of commands: one is imported when it is called, and listed without it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from restora.cli.app import COMMANDS, make_command, run

ELSEWHERE = (
    "restora.cli.bench",
    "restora.cli.calibrate",
    "restora.cli.cluster",
    "restora.cli.doctor",
    "restora.cli.evaluate",
    "restora.cli.export",
    "restora.cli.video",
    "restora.video",
    "restora.cluster",
    "restora_benchmarks",
    "restora_calibration",
    "restora_export",
    "av",
    "matplotlib",
    "onnx",
    "ray",
    "requests",
    "ssl",
    "torch",
)


def loaded_by(*words: str) -> set[str]:
    """Modules in sys.modules at the end of a command line, in a process of its own."""
    code = "import atexit, sys\n"
    code += "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
    code += f"from restora.cli import main\nsys.argv = ['restora', *{words!r}]\nmain()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


def test_restoring_imports_no_other_command_and_none_of_their_packages() -> None:
    loaded = loaded_by("restore", "--help")
    assert "restora.cli.restore" in loaded
    assert not loaded & set(ELSEWHERE)


def test_the_list_of_commands_imports_none_of_them() -> None:
    places = {entry.place.partition(":")[0] for entry in COMMANDS.values()}
    assert not loaded_by("--help") & {*places, "numpy", "restora.pipeline"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_help_of_a_command_says_first(name: str) -> None:
    first, *_ = make_command().load(name).help.split("\n\n")
    assert first == COMMANDS[name].summary


def test_each_command_is_shown_with_its_summary(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        make_command()(args=["--help"], prog_name="restora")
    page = capsys.readouterr().out
    for name, entry in COMMANDS.items():
        (line,) = (line for line in page.splitlines() if line.split()[1:2] == [name])
        assert entry.summary in line


def test_an_unknown_command_is_wrong_usage_and_the_nearest_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        make_command()(args=["restroe"], prog_name="restora")
    assert caught.value.code == 2
    assert "restore" in capsys.readouterr().err


def complete(shell: str, line: str) -> list[str]:
    """What a shell is told that the last word of a line may become."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "_RESTORA_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": words[-1],
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "from restora.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout.split()


def test_a_shell_completes_commands_and_their_options() -> None:
    assert complete("bash", "restora ver") == ["verify"]
    assert set(complete("bash", "restora sample --out")) == {"--output"}
    assert "--overwrite" in " ".join(complete("zsh", "restora export --over"))
    assert "compare" in " ".join(complete("fish", "restora bench com"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_a_shell(shell: str) -> None:
    """Typer finds the shell by the process's parents: here it is told."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "_RESTORA_COMPLETE": f"source_{shell}",
    }
    code = "from restora.cli import main; main()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"complete_{shell}" in done.stdout


def test_an_exit_code_that_only_the_parser_has_becomes_wrong_usage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Typer ends with 1 for a shell that it cannot complete."""

    def end_with(code: int) -> None:
        def command(**_options: object) -> None:
            raise SystemExit(code)

        monkeypatch.setattr("restora.cli.app.make_command", lambda: command)
        run([])

    with pytest.raises(SystemExit) as caught:
        end_with(1)
    assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        end_with(6)
    assert caught.value.code == 6
