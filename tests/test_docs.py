"""Facts about README and docs: the Python code runs as it is written, and the commands exist."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import tiny_artifact
from restora import Photo, read_photo, write_photo
from restora.cli.app import make_command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# a comment in front of a block keeps it from being run; it is still compiled
_BLOCK = re.compile(
    r"^(?P<comment><!--[^\n]*-->\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
_NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
_INLINE = re.compile(r"`((?:\.venv/bin/)?restora [^`]+)`")
_PORTS = ("8000", "8001")


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    code: str
    comment: str


def blocks_of(page: Path, language: str) -> list[Block]:
    found = _BLOCK.finditer(page.read_text())
    return [
        Block(page.name, block["language"], block["code"], (block["comment"] or "").strip())
        for block in found
        if block["language"] == language
    ]


def pages_with_python() -> list[Path]:
    return [page for page in PAGES if blocks_of(page, "python")]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the examples name."""
    photo = read_photo(ROOT / "engine" / "restora" / "data" / "sample.jpg")
    small = Photo(np.ascontiguousarray(photo.pixels[:64, :80]), metadata=photo.metadata)
    (tmp_path / "photos").mkdir()
    for name in ("old.jpg", "upload.bin", "photos/a.jpg", "photos/b.jpg"):
        write_photo(small, tmp_path / name, format="jpg")
    for name in ("print.jpg", "print_mask.png"):
        shutil.copy(ROOT / "engine" / "restora" / "data" / name, tmp_path)
    (tmp_path / "my_net.onnx").write_bytes(tiny_artifact().onnx)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    return tmp_path


def free_ports(count: int) -> list[str]:
    """Different ports below those that the system gives to clients, so that nothing takes them
    before a service listens, not even the connection that waits for it."""
    found: list[str] = []
    for port in random.sample(range(20000, 32000), 1000):
        if len(found) == count:
            break
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(str(port))
    return found


@contextlib.contextmanager
def serving(code: str, port: str) -> Iterator[None]:
    """Run a service in a process of its own until the block ends."""
    path = os.pathsep.join(str(ROOT / name) for name in ("engine", "export"))
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(2400):  # two minutes, for a busy machine
            assert process.poll() is None, "the service ended"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port))):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("page", pages_with_python(), ids=lambda page: page.name)
def test_python_code_runs_as_it_is_written(
    page: Path, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blocks of a page run one after another, beside its services; only ports are replaced."""
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    with contextlib.ExitStack() as services:
        for block in blocks_of(page, "python"):
            code = block.code
            for port, free in ports.items():
                code = code.replace(port, free)
            compiled = compile(code, f"{page.name}", "exec")
            if _NOT_RUN.fullmatch(block.comment):
                continue
            if "serve_forever()" in code:
                (used,) = (free for free in ports.values() if free in code)
                services.enter_context(serving(code, used))
            else:
                exec(compiled, {"__name__": "__main__"})
    if page.name == "embedding.md":
        assert read_photo(desk / "new.png").width == 160
        assert len(list((desk / "restored").glob("*.png"))) == 4  # two of them by the batch job


def test_what_is_not_run_is_a_minority_and_says_why() -> None:
    blocks = list(itertools.chain(*(blocks_of(page, "python") for page in PAGES)))
    left_out = [block for block in blocks if block.comment]
    for block in left_out:
        assert _NOT_RUN.fullmatch(block.comment), f"{block.page}: {block.comment}"
    assert len(left_out) < len(blocks) / 3


def test_examples_of_the_embedding_page_are_as_short_as_it_says() -> None:
    script, _models, batch, _folder, service, *_ = blocks_of(ROOT / "docs/embedding.md", "python")

    def lines(block: Block) -> int:
        return sum(bool(line.strip()) for line in block.code.splitlines())

    assert lines(script) <= 5
    assert lines(batch) <= 10
    assert lines(service) <= 15


def commands_of(page: Path) -> list[list[str]]:
    """Words of all restora commands on a page, of blocks and of inline code."""
    lines: list[str] = []
    for block in blocks_of(page, "sh"):
        lines += block.code.replace("\\\n", " ").splitlines()
    lines += [found.replace("\n", " ") for found in _INLINE.findall(page.read_text())]
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[1:] and Path(words[0]).name == "restora" and not words[1].isupper():
            found.append(words[1:])
    return found


@pytest.fixture(scope="module")
def parser() -> Any:
    """The tree of commands, which parse their words and then do nothing."""
    root = make_command().load_all()

    def empty(command: Any) -> None:
        command.callback = lambda **_values: None
        for inner in getattr(command, "commands", {}).values():
            empty(inner)

    empty(root)
    return root


def fault_of(parser: Any, words: list[str]) -> str | None:
    """What the parser says against a command; a mention in the text may leave options out, and
    files of examples need not exist."""
    try:
        parser(args=words, prog_name="restora", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # Typer has its own copy of Click's errors
            raise
        message = str(error.format_message())
        if message and not re.match("Missing|.* does not exist", message):
            return f"restora {shlex.join(words)}: {message}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path, parser: Any) -> None:
    wrong = [fault for words in commands_of(page) if (fault := fault_of(parser, words))]
    assert not wrong, "\n".join(wrong)


def test_commands_are_found_and_wrong_ones_are_noticed(parser: Any) -> None:
    assert sum(len(commands_of(page)) for page in PAGES) > 30
    for words in ("restor", "restore --no-such-flag", "restore -i a --backend nothing", "models x"):
        assert fault_of(parser, words.split()) is not None, words
    assert fault_of(parser, ["restore", "-i", "a.jpg", "-o", "b.png", "--tile", "512"]) is None


_USER_FILE = """
from collections.abc import Iterator
from typing import assert_type

from restora import (
    CpuOptions, FaceOptions, Metadata, ModelSummary, Photo, PhotoLimits, PlanOptions, RestoraError,
    Restoration, Restorer, RestoreOptions, RunOptions, RunResult, Session, SessionOptions,
    VideoOptions, available_models, encode_photo, fetch_model, open_session, read_photo,
    restore_file, restore_folder, restore_video, write_photo,
)

options = RestoreOptions(tile=512, device="gpu:1")
with Restorer("a.onnx", device="cpu", precision="fp32", tile="auto", faces=True) as restorer:
    assert_type(restorer.restore(b"").photo, Photo)
    assert_type(restorer.restore_many(["a.jpg"]), Iterator[Restoration])
    both = restorer.restore_many(["a.jpg"], on_error="return")
    assert_type(both, Iterator[Restoration | RestoraError])
    assert_type(restore_folder("a", "b", restorer, options=RunOptions(ext="png")), RunResult)
    write_photo(restorer.restore(read_photo("a.jpg")).photo, "b.png")
    names: list[str] = [network.info.model for network in restorer.networks]
session: Session = open_session("a.onnx", options=SessionOptions(cpu=CpuOptions(threads=2)))
Restorer.from_session(session, faces=FaceOptions(strength=0.5), options=options).close()
models: tuple[ModelSummary, ...] = available_models()
Restorer(device=3)  # type: ignore[arg-type]
Restorer(precision="half")  # type: ignore[arg-type]
RunOptions(ext="gif")  # type: ignore[arg-type]
"""


@pytest.mark.slow
def test_a_strictly_typed_program_of_a_user_is_accepted(tmp_path: Path) -> None:
    """Each wrong value needs its `type: ignore`, or mypy reports the comment as unused."""
    (tmp_path / "user.py").write_text(_USER_FILE)
    mypy = shutil.which("mypy", path=str(Path(sys.executable).parent)) or "mypy"
    result = subprocess.run(
        [mypy, "--strict", "--python-version", "3.11", "--config-file=", "user.py"],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "MYPYPATH": str(ROOT / "engine")},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
