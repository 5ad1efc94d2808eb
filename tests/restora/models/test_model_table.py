"""Facts about model names, files and downloads. Servers are local; nothing leaves the machine."""

import hashlib
import os
import pwd
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests

from restora.artifact import read_artifact
from restora.errors import (
    ArtifactError,
    ChecksumError,
    DiskFullError,
    DownloadError,
    MissingModelError,
    ModelError,
    OptionError,
    OutputError,
    UnknownModelError,
    UnsafePathError,
)
from restora.models import (
    DEFAULT_MODEL,
    MODELS,
    ModelEntry,
    find_artifact,
    find_entry,
    find_model,
    find_model_folder,
    find_own_checkpoint,
    model_folder,
    own_models,
    remote_file,
    verify_checkpoint,
)
from restora.models.fetch import fetch_model
from restora.models.store import sha256_of
from stored import read_json

CONTENT = bytes(range(256)) * 4000
DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


class Server(ThreadingHTTPServer):
    """Serves CONTENT; cut: bytes after which the connection is dropped, once.

    headers   replace those of the answer; None leaves one out
    redirect  where everything but /tiny.pth is sent
    """

    daemon_threads = True
    cut: int | None = None
    ranges = True
    redirect: str | None = None
    headers: dict[str, str | None]
    requests: list[str | None]
    encodings: list[str | None]

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.server.redirect is not None and self.path != "/tiny.pth":
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.end_headers()
            return
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        self.server.encodings.append(self.headers.get("Accept-Encoding"))
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        if not self.server.ranges:
            start = 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        size = len(CONTENT)
        headers: dict[str, str | None] = {"Content-Length": str(size - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        for name, value in {**headers, **self.server.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        end = len(CONTENT)
        if self.server.cut is not None:
            end, self.server.cut = self.server.cut, None
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.requests, running.encodings, running.headers = [], [], {}
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def entry_at(server: Server, **changes: Any) -> ModelEntry:
    values = {
        "name": "tiny",
        "kind": "upsampler",
        "purpose": "a test",
        "file": "tiny.pth",
        "url": f"http://127.0.0.1:{server.server_address[1]}/tiny.pth",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "size_bytes": len(CONTENT),
        **changes,
    }
    return ModelEntry(**values)


def test_the_table_agrees_with_the_published_files() -> None:
    by_url = {entry.url: entry for entry in MODELS.values()}
    for manifest in read_json(DATA / "manifests.json.xz").values():
        if manifest["url"] is None:
            continue
        entry = by_url[manifest["url"]]
        if manifest["sha256"] is not None:
            assert entry.sha256 == manifest["sha256"]
            assert entry.size_bytes == manifest["size_bytes"]
        constructor = manifest["constructor"]
        assert entry.scale == constructor.get("scale", constructor.get("upscale"))


def test_the_default_model_is_bundled_for_both_kinds_of_picture() -> None:
    for io in ("uint8", "float32"):
        artifact = read_artifact(find_artifact(DEFAULT_MODEL, io))
        assert artifact.info.io == io
        assert artifact.info.model == DEFAULT_MODEL
        assert artifact.info.scale == 2
        assert len(artifact.onnx) <= 3_000_000
    assert find_model(DEFAULT_MODEL).artifact is not None


@pytest.mark.parametrize(
    "name", ["RealESRGAN_x4plus", "realesrgan_x4PLUS", "RealESRGAN_x4plus.pth"]
)
def test_case_and_a_pth_ending_do_not_matter(name: str) -> None:
    assert find_entry(name).name == "RealESRGAN_x4plus"


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match="did you mean RealESRGAN_x2plus"):
        find_entry("RealESGRAN_x2plus")
    with pytest.raises(UnknownModelError, match="known are restora-lite-x2"):
        find_entry("zzz")


def test_a_missing_model_says_how_to_get_it(folder: Path) -> None:
    with pytest.raises(MissingModelError, match="restora models fetch RealESRGAN_x4plus"):
        find_artifact("RealESRGAN_x4plus", "uint8")
    folder.mkdir()
    (folder / "RealESRGAN_x4plus.pth").write_bytes(b"weights")
    with pytest.raises(MissingModelError, match="make it with `restora export"):
        find_artifact("RealESRGAN_x4plus", "uint8")


def test_a_face_model_enlarges_no_photo() -> None:
    with pytest.raises(OptionError, match="of kind face, upsampler is needed"):
        find_artifact("GFPGANv1.3", "uint8")


def test_a_checkpoint_is_no_artifact() -> None:
    with pytest.raises(OptionError, match="restora export"):
        find_artifact("./net.pth", "uint8")


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_folder().name == "models"
    monkeypatch.delenv("RESTORA_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert model_folder() == Path("/somewhere/restora/models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert model_folder() == Path.home() / ".cache/restora/models"


def test_a_download_is_checked_and_published_whole(server: Server, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch_model(entry_at(server), progress=lambda done, total: seen.append((done, total)))
    assert path == folder / "tiny.pth"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert not list(folder.glob("*.part"))
    fetch_model(entry_at(server))
    assert len(server.requests) == 1  # it is there; nothing is fetched again


def test_a_cut_download_goes_on_where_it_stopped(server: Server, folder: Path) -> None:
    server.cut = 300_000
    with pytest.raises(DownloadError, match=r"Run the command again to continue"):
        fetch_model(entry_at(server))
    assert not (folder / "tiny.pth").exists()
    kept = (folder / "tiny.pth.part").stat().st_size
    assert 0 < kept <= 300_000
    assert fetch_model(entry_at(server)).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={kept}-"]


def test_a_server_without_ranges_starts_again(server: Server, folder: Path) -> None:
    server.ranges = False
    folder.mkdir()
    (folder / "tiny.pth.part").write_bytes(b"something old")
    assert fetch_model(entry_at(server)).read_bytes() == CONTENT


def test_another_content_is_refused_and_deleted(server: Server, folder: Path) -> None:
    with pytest.raises(ChecksumError, match=f"must have the SHA-256 {'0' * 64}"):
        fetch_model(entry_at(server, sha256="0" * 64))
    assert [path.name for path in folder.iterdir()] == ["tiny.pth.lock"]


def test_more_bytes_than_the_file_has_are_refused(server: Server, folder: Path) -> None:
    with pytest.raises(ChecksumError, match="1000 bytes at most"):
        fetch_model(entry_at(server, size_bytes=1000))
    assert not (folder / "tiny.pth.part").exists()


def test_without_a_digest_on_record_the_first_one_is_kept(
    server: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = entry_at(server, sha256=None)
    path = fetch_model(entry)
    assert "the SHA-256 of tiny.pth is not known" in caplog.text
    record = folder / "tiny.pth.sha256"
    assert record.read_text().startswith(hashlib.sha256(CONTENT).hexdigest())
    path.unlink()
    record.write_text("0" * 64 + "  tiny.pth\n")
    with pytest.raises(ChecksumError, match="not the file of the first download"):
        fetch_model(entry)


def test_without_a_network_the_error_says_where_to_put_the_file(folder: Path) -> None:
    entry = ModelEntry("tiny", "upsampler", "", "tiny.pth", url="http://127.0.0.1:9/tiny.pth")
    with pytest.raises(DownloadError) as caught:
        fetch_model(entry)
    assert "the host 127.0.0.1 cannot be reached; check that this machine" in str(caught.value)
    assert "Pool" not in str(caught.value)
    assert "http://127.0.0.1:9/tiny.pth" in str(caught.value)
    assert f"elsewhere and put it at {folder / 'tiny.pth'}" in str(caught.value)


def test_plain_http_is_refused_elsewhere() -> None:
    entry = ModelEntry("tiny", "upsampler", "", "tiny.pth", url="http://example.com/tiny.pth")
    with pytest.raises(DownloadError, match="over https only"):
        fetch_model(entry)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://example.com/tiny.pth", "over https only, not from http://example.com/tiny.pth"),
        ("//example.com/tiny.pth", "over https only, not from http://example.com/tiny.pth"),
        ("ftp://127.0.0.1/tiny.pth", "over https only"),
        ("file:///etc/passwd", "is no address of a file"),
        ("http://[::1", "redirects without an address"),
        ("http://127.0.0.1:99999/", "is no address of a file"),
        ("http://127.0.0.1:port/", "is no address of a file"),
        ("", "redirects without an address"),
        ("/again", "redirects more than 10 times"),
        ("http://local\x1b[31mhost/", "redirects without an address"),
    ],
)
@pytest.mark.parametrize("sha256", ["0" * 64, None])
def test_a_redirect_elsewhere_than_to_https_is_not_followed(
    server: Server, location: str, message: str, sha256: str | None
) -> None:
    server.redirect = location
    url = f"http://127.0.0.1:{server.server_address[1]}/first"
    with pytest.raises(DownloadError, match=message) as caught:
        fetch_model(entry_at(server, url=url, sha256=sha256))
    assert "\x1b" not in str(caught.value)
    assert server.requests == []


def test_a_redirect_is_followed_with_the_range(server: Server, folder: Path) -> None:
    server.redirect = "/tiny.pth"
    folder.mkdir()
    (folder / "tiny.pth.part").write_bytes(CONTENT[:1000])
    url = f"http://127.0.0.1:{server.server_address[1]}/first"
    assert fetch_model(entry_at(server, url=url)).read_bytes() == CONTENT
    assert server.requests == ["bytes=1000-"]


def test_https_does_not_lead_back_to_plain_http_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What runs on this machine is not for a server elsewhere to choose."""
    asked = []

    def redirect(_: requests.Session, url: str, **__: Any) -> requests.Response:
        asked.append(url)
        response = requests.Response()
        response.status_code, response.url, response.raw = 302, url, BytesIO()
        response.headers["Location"] = "http://127.0.0.1:9/tiny.pth"
        return response

    monkeypatch.setattr(requests.Session, "get", redirect)
    entry = ModelEntry("tiny", "upsampler", "", "tiny.pth", url="https://example.com/tiny.pth")
    with pytest.raises(DownloadError, match="over https only"):
        fetch_model(entry)
    assert asked == ["https://example.com/tiny.pth"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Content-Length": "abc"}, "a length that is not a number: 'abc'"),
        ({"Content-Length": "-5"}, "a length that is not a number"),
        ({"Content-Length": "9" * 5000}, "a length that is not a number"),
        ({"Content-Length": "77"}, "tiny.pth must have 1024000 bytes, the server has 77"),
        ({"Content-Encoding": "gzip"}, "in the encoding 'gzip', which was not requested"),
        ({"Content-Encoding": "br"}, "in the encoding 'br'"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_before_it_arrives(
    server: Server, headers: dict[str, str | None], message: str, folder: Path
) -> None:
    server.headers = headers
    folder.mkdir()
    partial = folder / "tiny.pth.part"
    with pytest.raises(DownloadError, match=message):
        fetch_model(entry_at(server))
    assert not partial.exists()
    server.ranges = False
    partial.write_bytes(b"half")
    with pytest.raises(DownloadError, match=message):
        fetch_model(entry_at(server))
    assert partial.read_bytes() == b"half"
    assert set(server.encodings) == {"identity"}


def test_another_range_than_asked_for_is_refused(server: Server, folder: Path) -> None:
    folder.mkdir()
    partial = folder / "tiny.pth.part"
    partial.write_bytes(CONTENT[:10])
    server.headers = {"Content-Range": "bytes 100-1023999/1024000"}
    with pytest.raises(DownloadError, match="instead of byte 10 onwards"):
        fetch_model(entry_at(server))
    assert partial.read_bytes() == CONTENT[:10]


def test_a_server_without_a_length_is_believed_by_the_digest(server: Server) -> None:
    server.headers = {"Content-Length": None}
    assert fetch_model(entry_at(server)).read_bytes() == CONTENT


def test_a_whole_partial_file_is_published_without_asking(server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pth.part").write_bytes(CONTENT)
    assert fetch_model(entry_at(server)).read_bytes() == CONTENT
    assert server.requests == []


def test_a_partial_file_longer_than_the_servers_is_deleted(server: Server, folder: Path) -> None:
    folder.mkdir()
    partial = folder / "tiny.pth.part"
    partial.write_bytes(CONTENT + b"more")
    with pytest.raises(DownloadError, match="is shorter than the"):
        fetch_model(entry_at(server, size_bytes=None))
    assert not partial.exists()
    assert fetch_model(entry_at(server, size_bytes=None)).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["tiny.pth.part", "tiny.pth.lock"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe", "folder"])
def test_nothing_is_written_through_what_was_planted(
    server: Server, folder: Path, name: str, kind: str
) -> None:
    folder.mkdir()
    victim, planted = folder.parent / "victim", folder / name
    if kind != "dangling link":
        victim.write_bytes(b"mine")
    if kind == "pipe":
        os.mkfifo(planted)
    elif kind == "folder":
        planted.mkdir()
    elif kind == "hard link":
        planted.hardlink_to(victim)
    else:
        planted.symlink_to(victim)
    with pytest.raises(UnsafePathError, match="plain files only"):
        fetch_model(entry_at(server))
    assert not victim.exists() if kind == "dangling link" else victim.read_bytes() == b"mine"
    assert server.requests == []


def test_a_partial_file_that_becomes_a_link_meanwhile_is_not_written_through(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = folder.parent / "victim"
    victim.write_bytes(b"mine")
    folder.mkdir()
    monkeypatch.setattr(remote_file, "require_plain", lambda _: None)
    (folder / "tiny.pth.part").symlink_to(victim)
    with pytest.raises(OutputError):
        fetch_model(entry_at(server))
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("content", [b"", b"\n", b"not a digest", b"\xff\xfe", b"0" * 5000])
def test_a_damaged_record_of_a_digest_is_refused(
    server: Server, folder: Path, content: bytes
) -> None:
    folder.mkdir()
    (folder / "tiny.pth.sha256").write_bytes(content)
    with pytest.raises(ChecksumError, match=r"tiny\.pth\.sha256"):
        fetch_model(entry_at(server, sha256=None))
    assert not (folder / "tiny.pth").exists()


def test_a_record_is_not_written_through_a_link(server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / "tiny.pth.sha256").symlink_to(folder.parent / "victim")
    with pytest.raises(UnsafePathError):
        fetch_model(entry_at(server, sha256=None))
    assert not (folder.parent / "victim").exists()


def test_a_model_folder_that_cannot_be_made_is_an_output_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "models", tmp_path / ("a" * 300)):
        monkeypatch.setenv("RESTORA_MODELS", str(folder))
        with pytest.raises(OutputError, match="cannot be made"):
            fetch_model(entry_at(server))


def test_a_folder_in_the_place_of_a_checkpoint_is_an_output_error(
    server: Server, folder: Path
) -> None:
    (folder / "tiny.pth").mkdir(parents=True)
    with pytest.raises(OutputError, match="must be a file or not exist"):
        fetch_model(entry_at(server))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.exceptions.ProxyError("x"), "the proxy"),
        (requests.exceptions.SSLError("x"), "certificate of example.com cannot be verified"),
        (requests.exceptions.ConnectTimeout("x"), "does not answer"),
        (requests.exceptions.ReadTimeout("x"), "sent nothing for 30 seconds"),
        (requests.exceptions.ConnectionError(socket.gaierror(-2, "x")), "cannot be found"),
        (requests.exceptions.ChunkedEncodingError("x"), "was cut"),
        (requests.exceptions.InvalidURL("x"), "an address that cannot be used"),
        (ConnectionResetError("x"), "was cut"),
    ],
)
def test_a_failed_download_is_explained_in_plain_words(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(requests.Session, "get", fail)
    entry = ModelEntry("tiny", "upsampler", "", "tiny.pth", url="https://example.com/tiny.pth")
    with pytest.raises(DownloadError, match=words) as caught:
        fetch_model(entry)
    assert "could not be downloaded" in str(caught.value)


def test_an_error_page_is_named_by_its_number(server: Server) -> None:
    server.ranges = True
    url = f"http://127.0.0.1:{server.server_address[1]}/tiny.pth"
    server.headers = {}
    Handler404.answer_in(server)
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 answered 404 Not Found"):
        fetch_model(entry_at(server, url=url))


class Handler404(BaseHTTPRequestHandler):
    @classmethod
    def answer_in(cls, server: Server) -> None:
        server.RequestHandlerClass = cls

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


def test_the_bundled_model_is_not_fetched() -> None:
    with pytest.raises(OptionError, match="is bundled with restora"):
        fetch_model(DEFAULT_MODEL)


def test_eight_at_once_fetch_once(server: Server) -> None:
    entry = entry_at(server)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch_model(entry), range(8)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.requests) == 1


def test_a_full_disk_is_reported_as_such(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remote_file.os, "fsync", fail)
    with pytest.raises(DiskFullError, match="No space left"):
        fetch_model(entry_at(server))


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of whom neither the environment nor the system knows a home directory."""

    def unknown(_: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "RESTORA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_directory_the_bundled_model_works() -> None:
    for io in ("uint8", "float32"):
        assert find_artifact(DEFAULT_MODEL, io).is_file()
    assert find_model(DEFAULT_MODEL).artifact is not None
    assert find_model("GFPGANv1.4").checkpoint is None
    assert find_model_folder() is None
    for need in (model_folder, lambda: fetch_model("GFPGANv1.4")):
        with pytest.raises(OptionError, match="set RESTORA_MODELS"):
            need()
    with pytest.raises(OptionError, match="set RESTORA_MODELS"):
        find_artifact("RealESRGAN_x4plus", "uint8")


def test_a_folder_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORA_MODELS", "~no-such-user-here/x")
    with pytest.raises(OptionError, match="RESTORA_MODELS must be the path of a folder"):
        model_folder()
    assert find_artifact(DEFAULT_MODEL, "uint8").is_file()


@pytest.mark.parametrize("io", ["uint8", "float32"])
@pytest.mark.parametrize(
    "name", ["", ".", "a\0b", "a\0b.onnx", "a" * 5000, f"{'a' * 5000}.onnx", "a\x1b[31m.onnx", "/"]
)
def test_a_name_that_no_model_can_have_is_refused(name: str, io: Any) -> None:
    for model in (name, Path(name)):
        with pytest.raises(ModelError) as caught:
            find_artifact(model, io)
        assert len(str(caught.value)) < 1000
        assert "\x1b" not in str(caught.value)


def test_only_a_regular_file_is_an_artifact(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "link.onnx").symlink_to("/dev/zero")
    for name, words in (("folder", "a folder"), ("pipe", "a named pipe"), ("link", "a device")):
        with pytest.raises(ArtifactError, match=f"must be an .onnx file, it is {words}"):
            find_artifact(tmp_path / f"{name}.onnx", "float32")
    with pytest.raises(MissingModelError, match="there is no artifact at"):
        find_artifact(tmp_path / "none.onnx", "float32")


def test_an_own_file_in_the_model_folder_is_found_by_its_name(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.onnx").touch()
    (folder / "mine.float32.onnx").touch()
    (folder / "other.onnx").touch()
    assert find_artifact("mine", "uint8") == folder / "mine.onnx"
    assert find_artifact("mine", "float32") == folder / "mine.float32.onnx"
    assert own_models() == ("mine", "other")
    with pytest.raises(UnknownModelError, match="there is no model 'my'"):
        find_artifact("my", "uint8")
    with pytest.raises(UnknownModelError):
        find_artifact("../mine", "uint8")


@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors", "mine.param"])
def test_an_own_checkpoint_in_the_model_folder_is_found_by_its_name(
    folder: Path, name: str
) -> None:
    folder.mkdir()
    (folder / name).touch()
    (folder / "mine.bin").touch()  # the weights of an ncnn network
    assert find_own_checkpoint("mine") == find_own_checkpoint(name) == folder / name
    assert own_models() == ("mine",)
    with pytest.raises(MissingModelError, match="mine is here as a checkpoint"):
        find_artifact("mine", "uint8")


def test_a_param_file_without_its_weights_is_no_model(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.param").touch()
    assert find_own_checkpoint("mine") is None


def test_a_pipe_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="must be a regular file, it is a named pipe"):
        sha256_of(tmp_path / "pipe")


def test_a_damaged_checkpoint_is_told_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "RealESRGAN_x2plus.pth"
    path.write_bytes(b"damaged")
    with pytest.raises(ChecksumError, match="delete it and fetch it again"):
        verify_checkpoint(path, MODELS["RealESRGAN_x2plus"])
