"""The outermost layer: request ids, headers of every answer, counts."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from restora.serve.service import Service
from restora.serve.spans import Attributes, Spans
from restora.serve.tokens import ANONYMOUS, Client

logger = logging.getLogger(__name__)

_KEY = "restora.exchange"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KNOWN = ("v2", "assets")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
# pages set their own
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(slots=True)
class Exchange:
    """What is known about a request in addition to its scope.

    route: the path's pattern; facts: attributes of its span
    """

    request_id: str
    client: Client = ANONYMOUS
    route: str = "other"
    facts: Attributes = field(default_factory=dict)


def exchange_of(request: Request) -> Exchange:
    return exchange_in(request.scope)


def exchange_in(scope: Scope) -> Exchange:
    exchange = scope[_KEY]
    assert isinstance(exchange, Exchange)
    return exchange


def client_of(request: Request) -> Client:
    """Who sends the request, by its token."""
    return exchange_of(request).client


class Boundary:
    """Middleware of the whole application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._spans = Spans()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = Exchange(_choose_id(headers.get("x-request-id")), route=_guess_route(scope))
        scope[_KEY] = exchange
        with self._spans.around(headers, exchange.facts):
            await self._answer(scope, receive, _Answer(send, exchange))

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        started = time.perf_counter()
        try:
            await self._app(scope, receive, answer.send)
        finally:
            elapsed_s = time.perf_counter() - started
            self._count(scope, answer.exchange, answer.status or 499, elapsed_s)

    def _count(self, scope: Scope, exchange: Exchange, status: int, seconds: float) -> None:
        metrics, method = self._service.metrics, str(scope["method"])
        method = method if method in _METHODS else "other"
        metrics.http_requests.labels(exchange.route, method, str(status)).inc()
        metrics.http_seconds.labels(exchange.route).observe(seconds)
        exchange.facts |= {
            "name": f"{method} {exchange.route}",
            "http.request.method": method,
            "http.route": exchange.route,
            "http.response.status_code": status,
            "restora.request_id": exchange.request_id,
        }
        logger.info(
            "%s %s %d %.3f s, %s, request %s",
            method, exchange.route, status, seconds, exchange.client.name, exchange.request_id,
        )  # fmt: skip


class _Answer:
    """Sends an answer, with the headers that each has. status: None until it begins"""

    def __init__(self, send: Send, exchange: Exchange) -> None:
        self._send = send
        self.exchange = exchange
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = MutableHeaders(scope=_with_headers(message))
            headers["X-Request-Id"] = self.exchange.request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _with_headers(message: Message) -> MutableMapping[str, Any]:
    message.setdefault("headers", [])
    return message


def _choose_id(given: str | None) -> str:
    """The client's own id if it is a plain one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _guess_route(scope: Scope) -> str:
    """For routes that do not say what they are; never a path that clients make up."""
    path = str(scope.get("path", ""))
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return "/" if path == "/" else f"/{first}" if first in _KNOWN else "other"
