"""Routes of the page: `/` and its assets, from memory, with a strict Content-Security-Policy."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# No inline code, nothing from elsewhere; photos and results are blobs of the page itself.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)


@dataclass(frozen=True, slots=True)
class _Asset:
    """A file that is sent as it is. The browser asks whether it changed, by its ETag."""

    data: bytes
    kind: str
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{hashlib.sha256(self.data).hexdigest()[:32]}"')

    def answer(self, request: Request) -> Response:
        headers = {
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Cache-Control": "no-cache",
            "ETag": self.etag,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        known = request.headers.get("if-none-match", "")
        if self.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(self.data, media_type=self.kind, headers=headers)


def page_routes() -> list[BaseRoute]:
    """GET / and GET /assets/NAME for each file of the page; they need no token."""
    assets = _read_assets()
    routes: list[BaseRoute] = [Route("/", _endpoint(assets.pop(_INDEX)), name="page")]
    for name, asset in assets.items():
        routes.append(Route(f"/assets/{name}", _endpoint(asset), name=f"page:{name}"))
    return routes


def _endpoint(asset: _Asset) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        return asset.answer(request)

    return send


def _read_assets() -> dict[str, _Asset]:
    found = {}
    for entry in (files(__package__) / "static").iterdir():
        kind = _TYPES.get(f".{entry.name.rpartition('.')[2]}")
        if kind is not None:
            found[entry.name] = _Asset(entry.read_bytes(), kind)
    return found
