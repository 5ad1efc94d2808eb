"""Facts about model names, files and downloads. Servers are local; nothing leaves the machine."""

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from restora.artifact import read_artifact
from restora.errors import (
    ChecksumError,
    DiskFullError,
    DownloadError,
    MissingModelError,
    OptionError,
    UnknownModelError,
)
from restora.models import (
    DEFAULT_MODEL,
    MODELS,
    ModelEntry,
    fetch_model,
    find_artifact,
    find_entry,
    find_model,
    model_folder,
    verify_checkpoint,
)
from restora.models import fetch as fetch_module

CONTENT = bytes(range(256)) * 4000
DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


class Server(ThreadingHTTPServer):
    """Serves CONTENT; cut: bytes after which the connection is dropped, once."""

    daemon_threads = True
    cut: int | None = None
    ranges = True
    requests: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        if not self.server.ranges:
            start = 0
        self.send_response(206 if start else 200)
        if start:
            size = len(CONTENT)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
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
        running.requests = []
        thread = threading.Thread(target=running.serve_forever)
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
    for manifest in json.loads((DATA / "manifests.json").read_text()).values():
        if manifest["url"] is None:
            continue
        entry = by_url[manifest["url"]]
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


def test_a_checkpoint_is_no_artefact() -> None:
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
    with pytest.raises(DownloadError, match=r"run the command again to go on"):
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
    with pytest.raises(ChecksumError, match=f"must have SHA-256 {'0' * 64}"):
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
    assert "no digest of tiny.pth is on record" in caplog.text
    record = folder / "tiny.pth.sha256"
    assert record.read_text().startswith(hashlib.sha256(CONTENT).hexdigest())
    path.unlink()
    record.write_text("0" * 64 + "  tiny.pth\n")
    with pytest.raises(ChecksumError, match="not the file that was fetched before"):
        fetch_model(entry)


def test_without_a_network_the_error_says_where_to_put_the_file(folder: Path) -> None:
    entry = ModelEntry("tiny", "upsampler", "", "tiny.pth", url="http://127.0.0.1:9/tiny.pth")
    with pytest.raises(DownloadError) as caught:
        fetch_model(entry)
    assert "http://127.0.0.1:9/tiny.pth" in str(caught.value)
    assert f"by hand at {folder / 'tiny.pth'}" in str(caught.value)


def test_plain_http_is_refused_elsewhere() -> None:
    entry = ModelEntry("tiny", "upsampler", "", "tiny.pth", url="http://example.com/tiny.pth")
    with pytest.raises(DownloadError, match="over https only"):
        fetch_model(entry)


def test_the_bundled_model_is_not_fetched() -> None:
    with pytest.raises(OptionError, match="comes with restora"):
        fetch_model(DEFAULT_MODEL)


def test_eight_at_once_fetch_once(server: Server) -> None:
    entry = entry_at(server)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch_model(entry), range(8)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.requests) == 1


def test_a_full_disk_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch_module.os, "fsync", fail)
    with pytest.raises(DiskFullError, match="No space left"):
        fetch_model(entry_at(server))


def test_a_damaged_checkpoint_is_told_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "RealESRGAN_x2plus.pth"
    path.write_bytes(b"damaged")
    with pytest.raises(ChecksumError, match="delete it and fetch it again"):
        verify_checkpoint(path, MODELS["RealESRGAN_x2plus"])
