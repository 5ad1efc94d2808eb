"""HTTP/1.1 as uvicorn speaks it, with typed answers to what is no HTTP, and a limit for headers."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from restora.errors import RequestError
from restora.serve.problems import CONTENT_TYPE, problem_of

_HEADERS_S = 20.0  # for the first request of a connection; later ones have uvicorn's own limit


class Protocol(H11Protocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._headers_timer = self.loop.call_later(_HEADERS_S, self._close_unless_begun)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Called for bytes that are no HTTP, after which nothing can be read any more."""
        problem = problem_of(RequestError(f"this is no request that can be read: {msg}"))
        body = problem.body("none")
        head = (
            f"HTTP/1.1 400 Bad Request\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nX-Request-Id: none\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _close_unless_begun(self) -> None:
        begun: object = self.cycle  # typed as if there always were one
        if begun is None:
            self.transport.close()
