"""Command lines: each ends with a documented exit code and without a traceback.

Commands run in this process, in a folder of their own. What would take long or reach for the
network is not asked for: inputs are missing or hostile, and photos are only planned, save a few.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NoReturn
from unittest import mock

from PIL import Image

from fuzz.target import Input, Target
from fuzz.words import CHOICES, NUMBERS, TEXTS, draw_word
from restora.cli import app as command_line
from restora.cli import main
from restora.exit_codes import ExitCode
from video_clips import Clip, make_clip

_make_commands = command_line.make_command
_DOCUMENTED = {int(code) for code in ExitCode}
# what comes before the drawn words, and behind them; the kind of free arguments
_COMMANDS: dict[str, tuple[list[str], list[str], list[str]]] = {
    **{f"restore-{number}": (["restore"], [], []) for number in range(6)},
    **{f"video-{number}": (["video"], [], []) for number in range(3)},
    "cluster": (["cluster"], [], []),
    "export": (["export"], [], ["missing"]),
    "verify": (["verify"], [], ["missing"]),
    "calibrate": (["calibrate"], [], ["missing"]),
    "evaluate": (["evaluate"], ["--clean", "absent"], []),
    "build": (["build"], [], ["missing"]),
    "sample": (["sample"], [], []),
    "models": (["models"], [], []),
    "cache-list": (["cache", "list"], [], []),
    "cache-verify": (["cache", "verify"], [], []),
    "bench-run": (["bench", "run"], ["--suites", "absent"], []),
    "bench-compare": (["bench", "compare"], [], ["input", "input"]),
    "bench-report": (["bench", "report"], [], ["input"]),
    "nothing": ([], [], ["text"]),
}
_OUTPUT_OPTIONS = {"--output", "-o", "--manifest", "--log"}
_SIZE_OPTIONS = {"--memory", "--workspace", "--max-file-size"}
_ENVIRONMENT = {
    "RESTORA_MODELS": ("~nouser/x", "", "words.txt", "absent", "x" * 300),
    "RESTORA_PLANS": ("~nouser/x", "", "words.txt", "absent", "x" * 300),
    "RESTORA_LOG": ("DEBUG", "", "x", "5"),
    "HOME": ("", "/absent", "words.txt"),
    "COLUMNS": ("0", "1", "x", "-5"),
}


def make_seeds() -> dict[str, Input]:
    """One for each command, with all that may be said to it."""
    root = _make_command()
    seeds = {}
    for name, (words, end, free) in _COMMANDS.items():
        options, environment = _describe(_find(root, words), words)
        seed = {
            "words": [*words, *end] if words else ["--version"],
            "command": words,
            "end": end,
            "free": free,
            "options": options,
            "environment": environment,
        }
        seeds[name] = Input(".json", json.dumps(seed).encode())
    return seeds


def mutate(one: Input, rng: Random, others: Sequence[Input]) -> Input:
    """Options of the command, valid ones and others, in any order, with any values."""
    seed: dict[str, Any] = json.loads(one.data)
    restoring = seed["command"] == ["restore"]
    words = [draw_word(kind, rng) for kind in seed["free"] if rng.random() < 0.95]
    for option, kind, required in seed["options"]:
        if rng.random() > (0.95 if required else 0.12):
            continue
        words += _draw_option(option, kind, rng)
    if rng.random() < 0.1:
        words.insert(rng.randrange(len(words) + 1), rng.choice(TEXTS + NUMBERS + CHOICES))
    if rng.random() < 0.05 and words:
        del words[rng.randrange(len(words))]
    if restoring and rng.random() < 0.97:
        words.append("--dry-run")
    words = [*seed["command"], *words, *seed["end"]]
    if rng.random() < 0.05:
        words.insert(
            0, rng.choice(("--verbose", "-v", "--version", "-h", "--nonsense", "--verbose=x"))
        )
    environment = {}
    for name in seed["environment"]:
        if rng.random() < 0.03:
            environment[name] = draw_word("text", rng)
    for name, values in _ENVIRONMENT.items():
        if rng.random() < 0.03:
            environment[name] = rng.choice(values)
    line = {"words": words, "environment": environment}
    return Input(".json", json.dumps(line).encode())


def check(path: Path) -> str:
    try:
        line = json.loads(path.read_bytes())
        words, environment = list(map(str, line["words"])), dict(line.get("environment", {}))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "no command line"  # while a saved one is made smaller
    folder = path.parent / "commands"
    _prepare(folder)
    out, err = _stream("strict"), _stream("backslashreplace")
    before = os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    try:
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(os, "_exit", _leave),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = _run(words)
    finally:
        os.chdir(before)
    said = [stream.buffer.getvalue().decode(errors="replace") for stream in (out, err)]
    assert "Traceback (most recent call last)" not in "".join(said), said[1][-2000:]
    assert code in _DOCUMENTED, f"exit code {code}: {said[1][-500:]}"
    return f"exit {code}"


def _run(words: list[str]) -> int:
    try:
        with (
            mock.patch.object(command_line, "make_command", _make_command),
            mock.patch.object(sys, "argv", ["restora", *words]),
        ):
            main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except _LeftError as error:
        return error.code
    return 0


class _LeftError(BaseException):
    def __init__(self, code: int) -> None:
        self.code = code


def _leave(code: int) -> NoReturn:
    raise _LeftError(code)


@cache
def _make_command() -> Any:
    """Made once: a process makes them for one command line."""
    return _make_commands().load_all()


def _find(root: Any, words: list[str]) -> Any:
    for word in words:
        root = root.commands[word]
    return root


def _describe(command: Any, words: list[str]) -> tuple[list[Any], list[str]]:
    """(option, kind of its value, whether it must be given), and variables that it reads."""
    options, environment = [], []
    for parameter in command.params:
        if parameter.param_type_name != "option":
            continue
        name = max(parameter.opts, key=len)
        options.append((name, _kind_of(parameter, name, words), bool(parameter.required)))
        if isinstance(parameter.envvar, str):
            environment.append(parameter.envvar)
    return options, environment


def _kind_of(parameter: Any, name: str, words: list[str]) -> str:
    if name in _OUTPUT_OPTIONS:
        return "output"
    if name in _SIZE_OPTIONS:
        return "size"
    if getattr(parameter, "is_flag", False):
        return "flag"
    described = getattr(parameter, "type_descriptor", None)  # Typer without Click
    kind = repr(described.annotation if described else parameter.type).lower()
    if "path" in kind or name in ("--model", "--face-model", "--input"):
        return "input" if words in (["restore"], ["video"]) else "missing"
    if "int" in kind or "float" in kind or name == "--tile":
        return "number"
    return "choice" if "choice" in kind or "literal" in kind else "text"


def _draw_option(option: str, kind: str, rng: Random) -> list[str]:
    if kind == "flag":
        return [option]
    value = draw_word(kind, rng)
    if rng.random() < 0.3:
        option = option.replace("-", "_").replace("__", "--", 1)  # the published spelling
    return [f"{option}={value}"] if rng.random() < 0.4 else [option, value]


def _prepare(folder: Path) -> None:
    """What PRESENT names; what a command has changed is made again."""
    if (folder / "made").exists():
        shutil.rmtree(folder / "out", ignore_errors=True)
        if (folder / "photo.png").exists() and (folder / "pipe").is_fifo():
            return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "photos").mkdir(parents=True)
    picture = Image.new("RGB", (6, 5), (90, 120, 30))
    for name in ("photo.png", "photos/a.png", "photos/b.jpg"):
        picture.save(folder / name)
    (folder / "photos" / "words.png").write_text("no picture")
    (folder / "empty").write_bytes(b"")
    for ending in ("txt", "onnx", "pth", "safetensors", "mp4", "parquet", "json"):
        (folder / f"words.{ending}").write_text("words, and nothing else\n")
    make_clip(folder / "clip.mp4", Clip(frames=2, size=(16, 16), audio=False))
    os.mkfifo(folder / "pipe")
    (folder / "nowhere.png").symlink_to("absent")
    (folder / "itself").symlink_to("itself")
    (folder / "made").write_bytes(b"")


def _stream(errors: str) -> Any:
    """As Python opens stdout and stderr of a terminal in UTF-8."""
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True)


# a shorter line may write elsewhere, or measure for an hour
TARGET = Target(make_seeds, mutate, check, cpu_s=10.0, wall_s=20.0, memory_mb=1024, shrinks=False)
