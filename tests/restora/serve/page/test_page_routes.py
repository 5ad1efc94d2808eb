"""The files of the page: all of them are served, and none needs what its policy forbids."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from importlib.resources import files

import httpx
import pytest
from starlette.applications import Starlette

from restora.serve.page.routes import CONTENT_SECURITY_POLICY, page_routes

STATIC = files("restora.serve.page") / "static"
NAMES = sorted(entry.name for entry in STATIC.iterdir())
SOURCES = {name: (STATIC / name).read_text() for name in NAMES}


class Client:
    """Requests to the routes, without a server."""

    def __init__(self) -> None:
        self._app = Starlette(routes=page_routes())

    def request(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(ask())

    def get(self, path: str, **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", path, given)


@pytest.fixture(scope="module")
def client() -> Client:
    return Client()


class Elements(HTMLParser):
    """Every element with its attributes, and the text inside <script> and <style>."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style"):
            self.inline += data.strip()

    def handle_endtag(self, tag: str) -> None:
        self._within = ""


PAGE = Elements(SOURCES["index.html"])


def test_the_page_is_at_the_root_with_a_policy_without_inline_code(client: Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; script-src 'self';")


def test_every_file_is_served_with_its_type(client: Client) -> None:
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for name in set(NAMES) - {"index.html"}:
        answer = client.get(f"/assets/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].startswith(types[name.rpartition(".")[2]])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.content == (STATIC / name).read_bytes()


@pytest.mark.parametrize("path", ["/assets/", "/assets/nothing.js", "/assets/../routes.py"])
def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_browser_that_has_a_file_gets_no_second_copy(client: Client) -> None:
    first = client.get("/assets/app.js")
    again = client.get("/assets/app.js", if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/assets/app.js", if_none_match='"x"').status_code == 200
    assert client.request("HEAD", "/", {}).headers["etag"] == client.get("/").headers["etag"]


def test_the_page_has_no_inline_code_or_style() -> None:
    assert PAGE.inline == ""
    for tag, attributes in PAGE.found:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
    for name, text in SOURCES.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function", text
        ), name


def test_all_that_the_page_loads_is_its_own() -> None:
    linked = {attributes.get("src") or attributes.get("href") for _, attributes in PAGE.found}
    for target in filter(None, linked):
        assert target.removeprefix("/assets/") in NAMES, target
    for name, text in SOURCES.items():
        for imported in re.findall(r'from "\./([^"]+)"', text):
            assert imported in NAMES, f"{name} imports {imported}"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name


def test_every_element_that_code_asks_for_exists() -> None:
    ids = [attributes["id"] for _, attributes in PAGE.found if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for name, text in SOURCES.items():
        for wanted in re.findall(r'\$\("([^"]+)"\)', text):
            assert wanted in ids, f"{name} asks for {wanted}"


def test_every_field_has_a_label() -> None:
    labels = {attributes.get("for") for tag, attributes in PAGE.found if tag == "label"}
    for tag, attributes in PAGE.found:
        if tag in ("select", "input") and attributes.get("type") not in ("checkbox", "radio"):
            assert attributes.get("id") in labels or attributes.get("aria-label"), attributes
