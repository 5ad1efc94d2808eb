"""HTTP/1.1 as uvicorn speaks it, with typed answers to what is no HTTP, a limit for headers, and
answers that arrive although the request is still being sent."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from restora.errors import RequestError
from restora.serve.problems import CONTENT_TYPE, problem_of

_HEADERS_S = 20.0  # from the connection, or the first byte of a later request, to its last header


class Protocol(H11Protocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_timer: asyncio.TimerHandle | None = None
        self._discards = False

    def connection_made(self, transport: Any) -> None:
        wrapped: Any = _Transport(transport, self)
        super().connection_made(wrapped)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._discards:
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._headers_timer is None:  # a part of the next request: uvicorn sets no limit
            self._expect_headers()

    def send_400_response(self, msg: str) -> None:
        """Called for bytes that are not HTTP; nothing can be read after them."""
        problem = problem_of(RequestError(f"the request cannot be parsed: {msg}"))
        body = problem.body("none")
        head = (
            f"HTTP/1.1 400 Bad Request\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nX-Request-Id: none\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def begin_discarding(self) -> bool:
        """Whether the client is still sending; what comes is dropped from now on, until it ends or
        uvicorn closes the idle connection. False the second time."""
        sending = self.conn.their_state is h11.SEND_BODY and not self._discards
        self._discards = self._discards or sending
        return sending

    def _expect_headers(self) -> None:
        self._headers_timer = self.loop.call_later(_HEADERS_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None


class _Transport:
    """A transport whose close() ends our side alone while the client is sending.

    A connection that is closed with unread data is reset, which may cost the client the answer.
    """

    def __init__(self, transport: asyncio.Transport, protocol: Protocol) -> None:
        self._transport = transport
        self._protocol = protocol

    def close(self) -> None:
        if self._transport.can_write_eof() and self._protocol.begin_discarding():
            self._transport.write_eof()
        else:
            self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
