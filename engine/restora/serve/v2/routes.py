"""The Open Inference Protocol over HTTP, with tensors as JSON or as bytes.

Errors are problem documents as of all routes, with the member "error" that the protocol asks for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from restora.artifact.tensors import OUTPUT
from restora.backends import Batch
from restora.errors import (
    FileTooLargeError,
    RequestError,
    UnsupportedMediaTypeError,
)
from restora.serve.boundary import exchange_of
from restora.serve.responses import make_route
from restora.serve.service import Service
from restora.serve.tickets import Ticket, parse_deadline
from restora.serve.uploads import iter_body
from restora.serve.v2.bodies import HEADER_LENGTH, HttpInferRequest, read_body, write_body
from restora.serve.v2.bodies_held import MAX_BYTES
from restora.serve.v2.infer import run_network, shorten
from restora.serve.v2.networks import VERSION, NetworkTable
from restora.serve.v2.tensors import output_of
from restora.serve.watching import watching

Handler = Callable[[Request], Awaitable[Response]]
_SMALL_BODY = 1 << 16  # is parsed in the event loop


def v2_routes(service: Service, table: NetworkTable | None = None) -> list[BaseRoute]:
    """All paths under /v2.

    table: statistics are kept in it; None: one of its own
    """
    routes = _Routes(table or NetworkTable(service))
    gets: dict[str, Handler] = {
        "/v2": routes.server,
        "/v2/": routes.server,
        "/v2/health/live": routes.live,
        "/v2/health/ready": routes.ready,
        "/v2/models/stats": routes.statistics,
    }
    posts: dict[str, Handler] = {"/v2/repository/index": routes.index}
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        gets |= {
            path: routes.metadata,
            f"{path}/ready": routes.model_ready,
            f"{path}/config": routes.config,
            f"{path}/stats": routes.statistics,
        }
        posts[f"{path}/infer"] = routes.infer
    return [
        make_route(path, **{method: handler})
        for method, handlers in (("GET", gets), ("POST", posts))
        for path, handler in handlers.items()
    ]


class _Routes:
    def __init__(self, table: NetworkTable) -> None:
        self._table = table
        self._service = table.service

    async def server(self, _request: Request) -> Response:
        return JSONResponse(self._table.describe_server())

    async def live(self, _request: Request) -> Response:
        return Response(status_code=503 if self._service.lost is not None else 200)

    async def ready(self, _request: Request) -> Response:
        return Response(status_code=200 if self._service.state == "ready" else 503)

    async def metadata(self, request: Request) -> Response:
        return JSONResponse(self._table.describe(*_model_of(request)))

    async def model_ready(self, request: Request) -> Response:
        ready = self._table.is_ready(*_model_of(request))
        return Response(status_code=200 if ready else 503)

    async def config(self, request: Request) -> Response:
        return JSONResponse(self._table.config(*_model_of(request)))

    async def statistics(self, request: Request) -> Response:
        return JSONResponse(self._table.count(*_model_of(request)))

    async def index(self, request: Request) -> Response:
        async with self._body(request, _SMALL_BODY) as body:
            try:
                only_ready = bool(json.loads(body or b"{}").get("ready", False))
            except (ValueError, AttributeError, RecursionError) as error:
                raise RequestError("the request must be a JSON object") from error
        return JSONResponse(self._table.index(only_ready=only_ready))

    async def infer(self, request: Request) -> Response:
        self._service.require_ready()
        name, version = _model_of(request)
        info = self._table.get(name, version).info
        if request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedMediaTypeError("compressed bodies are not supported: send them plain")
        deadline = parse_deadline(
            request.headers.get("x-restora-deadline"), self._service.options.deadline_s
        )
        exchange = exchange_of(request)
        admitted = self._service.queue.admit(
            exchange.client, request_id=exchange.request_id, deadline_s=deadline
        )
        with admitted as ticket:
            async with self._body(request, MAX_BYTES, ticket) as body:
                asked = await _parse(body, request.headers.get(HEADER_LENGTH))
                shorten(ticket, asked.request.timeout_s)

                def finish(result: Batch) -> tuple[bytes, dict[str, str]]:
                    datatype = output_of(info).datatype
                    return write_body(name, VERSION, asked, OUTPUT, datatype, result)

                async with watching(request, ticket):
                    answer, headers = await run_network(
                        self._table, name, version, asked.request, ticket, finish
                    )
        return Response(answer, headers=headers)

    @asynccontextmanager
    async def _body(
        self, request: Request, most: int, ticket: Ticket | None = None
    ) -> AsyncIterator[bytes]:
        """The body, which counts as memory until the block ends.

        Raises FileTooLargeError as soon as it is known to be larger, QueueFullError if all bodies
        together are.
        """
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            raise _too_large(most)
        body = bytearray()
        timeout_s = self._service.options.upload_timeout_s
        try:
            async for part in iter_body(request.receive, timeout_s=timeout_s, ticket=ticket):
                body += part
                self._table.bodies.add(len(part))
                if len(body) > most:
                    raise _too_large(most)
            yield bytes(body)
        finally:
            self._table.bodies.remove(len(body))


async def _parse(body: bytes, length: str | None) -> HttpInferRequest:
    """Long JSON is read in a thread."""
    if length is not None or len(body) <= _SMALL_BODY:
        return read_body(body, length)
    return await asyncio.to_thread(read_body, body, None)


def _model_of(request: Request) -> tuple[str, str]:
    """Name and version of a path; "" for what it does not name."""
    return request.path_params.get("name", ""), request.path_params.get("version", "")


def _too_large(most: int) -> FileTooLargeError:
    return FileTooLargeError(
        f"a request has more than {most} bytes, the limit: send smaller tiles, or a photo to "
        "/v1/restore"
    )
