"""Find files of packages in the index that pip of this machine is configured for.

The simple repository API, as JSON (PEP 691) or HTML (PEP 503). pip itself is asked for its
configuration only.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from restora.errors import DownloadError
from restora.models.download import open_answer, without_login
from restora.models.regular_file import shown

logger = logging.getLogger(__name__)

DEFAULT_INDEX = "https://pypi.org/simple"
_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_MAX_PAGE_BYTES = 32 << 20
_PIP_TIMEOUT_S = 30
_SECTIONS = (":env:", "download", "install", "global")  # the first one that sets a value counts


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file of a package.

    sha256, size_bytes: None if the index does not tell them
    """

    name: str
    url: str
    sha256: str | None = None
    size_bytes: int | None = None
    yanked: bool = False


@dataclass(frozen=True, slots=True)
class PackageIndex:
    """The indexes to ask, in order, and the certificates for them; None: those of requests."""

    urls: tuple[str, ...]
    certificates: str | None = None

    def find_wheels(self, package: str, version: str) -> list[IndexFile]:
        """The wheels of one version of a package, the smallest first, in the first index with any.

        Raises DownloadError if there is none.
        """
        problems = []
        for index in self.urls:
            try:
                found = [
                    file
                    for file in _list_files(index, package, self.certificates)
                    if _is_wheel_of(file.name, package, version) and not file.yanked
                ]
            except DownloadError as error:
                problems.append(str(error))
                continue
            if found:
                return sorted(found, key=lambda file: (file.size_bytes or sys.maxsize, file.name))
            problems.append(f"{without_login(index)} has no wheel of {package} {version}")
        raise DownloadError("; ".join(problems))


def find_index() -> PackageIndex:
    """The indexes of pip's configuration and environment, or the default one."""
    settings = _pip_settings()
    urls = [settings.get("index-url") or DEFAULT_INDEX]
    urls += (settings.get("extra-index-url") or "").split()
    remote = [url for url in urls if urlsplit(url).scheme in ("http", "https")]
    return PackageIndex(tuple(dict.fromkeys(remote)), settings.get("cert"))


def _pip_settings() -> dict[str, str]:
    """Settings of pip by name; those of the environment alone if there is no pip."""
    names = ("index-url", "extra-index-url", "cert")
    lines = list(_read_pip())
    found: dict[str, str] = {}
    for section in reversed(_SECTIONS):
        found |= {name: value for at, name, value in lines if at == section}
    for name in names:
        value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
        if value:
            found[name] = value
    return {name: value for name, value in found.items() if name in names}


def _read_pip() -> Iterator[tuple[str, str, str]]:
    """Lines of `pip config list`: section, name, value."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PIP_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("pip cannot be asked for its index: %s", error)
        return
    for line in done.stdout.splitlines():
        key, _, text = line.partition("=")
        section, _, name = key.rpartition(".")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            continue
        if isinstance(value, str):
            yield section, name, value


def _list_files(index: str, package: str, certificates: str | None) -> list[IndexFile]:
    page = f"{index.rstrip('/')}/{re.sub('[-_.]+', '-', package).lower()}/"
    with open_answer(page, 0, accept=_ACCEPT, certificates=certificates) as answer:
        data = b""
        for chunk in answer.chunks():
            data += chunk
            if len(data) > _MAX_PAGE_BYTES:
                raise DownloadError(f"{without_login(page)} has more than {_MAX_PAGE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
        files = _from_json(text) if answer.media_type == _JSON else _from_html(text)
        return [
            IndexFile(f.name, urljoin(answer.url, f.url), f.sha256, f.size_bytes, f.yanked)
            for f in files
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DownloadError(f"{without_login(page)} is no page of a package index") from error


def _from_json(text: str) -> list[IndexFile]:
    return [_file_from(row) for row in json.loads(text)["files"]]


def _file_from(row: dict[str, Any]) -> IndexFile:
    size, digest = row.get("size"), row.get("hashes", {}).get("sha256")
    return IndexFile(
        str(row["filename"]),
        str(row["url"]),
        _checked_digest(digest),
        size if isinstance(size, int) and size > 0 else None,
        bool(row.get("yanked", False)),
    )


def _from_html(text: str) -> list[IndexFile]:
    parser = _Links()
    parser.feed(text)
    return parser.found


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[IndexFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag != "a" or not values.get("href"):
            return
        url, fragment = urldefrag(values["href"] or "")
        kind, _, digest = fragment.partition("=")
        name = unquote(urlsplit(url).path.rpartition("/")[2])
        sha256 = _checked_digest(digest) if kind == "sha256" else None
        self.found.append(IndexFile(name, url, sha256, yanked="data-yanked" in values))


def _checked_digest(digest: object) -> str | None:
    if digest is None:
        return None
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise ValueError(f"{shown(str(digest))[:80]} is no SHA-256")
    return digest.lower()


def _is_wheel_of(file: str, package: str, version: str) -> bool:
    escaped = re.sub("[-_.]+", "_", package).lower()
    return file.lower().startswith(f"{escaped}-{version}-") and file.endswith(".whl")
