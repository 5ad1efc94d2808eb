"""Who may use a route: tokens, rates, and no pages of other sites."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from restora.errors import ForbiddenError
from restora.serve.boundary import exchange_of
from restora.serve.service import Service

_READING = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Lets requests of known clients through to `app`.

    Raises UnauthorizedError, ForbiddenError or RateLimitError for others.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._check(Request(scope), Headers(scope=scope))
        await self._app(scope, receive, send)

    def _check(self, request: Request, headers: Headers) -> None:
        service, exchange = self._service, exchange_of(request)
        if request.method not in _READING:
            self._check_origin(headers)
        exchange.client = service.tokens.authenticate(headers.get("authorization"))
        address = None if request.client is None else request.client.host
        service.check_rate(exchange.client, address)

    def _check_origin(self, headers: Headers) -> None:
        """A browser sends a form or a picture of any page here, without asking."""
        origin = headers.get("origin")
        if origin is None or origin in self._service.options.cors:
            return
        try:
            host = urlsplit(origin).netloc
        except ValueError:
            host = ""
        if not host or host != headers.get("host"):
            raise ForbiddenError(
                f"pages of {origin[:80]!r} may not use this service: allow it with --cors"
            )
