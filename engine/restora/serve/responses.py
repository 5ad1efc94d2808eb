"""Answers: bytes from memory or from a file, and events as they happen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from restora.serve.boundary import exchange_of

Endpoint = Callable[[Request], Any]

_CHUNK_BYTES = 1 << 18
_HEARTBEAT_S = 15.0
EVENTS = "text/event-stream"


def make_route(path: str, **endpoints: Endpoint) -> Route:
    """A route whose requests are counted by its path.

    endpoints: by method, such as GET=show, which answers HEAD too
    """

    async def call(request: Request) -> Response:
        exchange_of(request).route = path
        method = "GET" if request.method == "HEAD" else request.method
        answer = await endpoints[method](request)
        assert isinstance(answer, Response)
        return answer

    return Route(path, call, methods=list(endpoints), name=path)


def bytes_response(
    request: Request,
    source: Path | bytes,
    media_type: str,
    headers: dict[str, str],
    *,
    unlink: bool = False,
) -> Response:
    """An answer with these bytes; those of a file are read as the client takes them.

    unlink: remove the file now; it is still sent
    """
    if isinstance(source, bytes):
        return Response(source, 200, headers, media_type)
    stream = source.open("rb")
    size = source.stat().st_size
    if unlink:
        source.unlink()
    headers = {**headers, "Content-Length": str(size)}
    if request.method == "HEAD":
        stream.close()
        return Response(None, 200, headers, media_type)
    return StreamingResponse(_iter_file(stream), 200, headers, media_type)


def events_response(request: Request, events: AsyncIterator[bytes]) -> Response:
    """Server-sent events, each made by `event`."""
    headers = {"X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        return Response(None, 200, headers, EVENTS)
    return StreamingResponse(events, 200, headers, EVENTS)


def event(name: str, data: object, *, id_: str | None = None) -> bytes:
    """One event. id_: for Last-Event-ID"""
    line = "" if id_ is None else f"id: {id_}\n"
    return f"event: {name}\n{line}data: {json.dumps(data)}\n\n".encode()


class Heartbeat:
    """Comments in a stream of events, so that proxies keep it open."""

    def __init__(self) -> None:
        self._last = anyio.current_time()

    def due(self) -> bool:
        if anyio.current_time() - self._last < _HEARTBEAT_S:
            return False
        self._last = anyio.current_time()
        return True


COMMENT = b": alive\n\n"


def json_response(
    document: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return JSONResponse(document, status, headers)


async def _iter_file(stream: BinaryIO) -> AsyncIterator[bytes]:
    with stream:
        while part := await anyio.to_thread.run_sync(stream.read, _CHUNK_BYTES):
            yield part
