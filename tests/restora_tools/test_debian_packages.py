"""Packages of a named release of Debian: found in its index, checked, and unpacked."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from restora_tools.debian_packages import unpack_packages

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
PACKAGE = "pool/main/w/walls/walls_1_all.deb"
INDEX = "dists/trixie/main/binary-all/Packages.xz"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A release with the packages `walls` and `walls-extra`."""
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: walls\nVersion: 1\nArchitecture: all\nMaintainer: n <n@n>\nDescription: d\n"
    )
    (tree / "usr").mkdir()
    (tree / "usr/wall.txt").write_text("a wall")
    package = tmp_path / "archive" / PACKAGE
    package.parent.mkdir(parents=True)
    subprocess.run(["dpkg-deb", "--build", tree, package], check=True, capture_output=True)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    rows = [
        f"Package: {name}\nDescription: a: b\n Filename: no field\nFilename: {path}\nSHA256: {sha}"
        for name, path, sha in (
            ("walls-extra", "pool/absent.deb", "0"), ("walls", PACKAGE, digest),
        )
    ]  # fmt: skip
    index = tmp_path / "archive" / INDEX
    index.parent.mkdir(parents=True)
    index.write_bytes(lzma.compress("\n\n".join(rows).encode()))
    return tmp_path / "archive"


@pytest.fixture
def address(archive: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(archive))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_package_of_the_release_is_unpacked(address: str, tmp_path: Path) -> None:
    unpack_packages({"trixie": ["walls"]}, tmp_path, archive=address)
    assert (tmp_path / "usr/wall.txt").read_text() == "a wall"


def test_a_package_that_is_not_in_the_release_is_named(address: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no package ceilings in trixie"):
        unpack_packages({"trixie": ["ceilings"]}, tmp_path, archive=address)


def test_another_file_than_the_listed_one_is_refused(
    address: str, archive: Path, tmp_path: Path
) -> None:
    with (archive / PACKAGE).open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(SystemExit, match="must have the SHA-256"):
        unpack_packages({"trixie": ["walls"]}, tmp_path, archive=address)
    assert not (tmp_path / "usr").exists()


def test_a_machine_without_dpkg_is_told_what_to_unpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="unpack walls, floors elsewhere"):
        unpack_packages({"trixie": ["walls", "floors"]}, tmp_path)
