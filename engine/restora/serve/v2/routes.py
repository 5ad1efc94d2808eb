"""The Open Inference Protocol over HTTP, with tensors as JSON or as bytes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from restora.artifact.tensors import OUTPUT
from restora.errors import FileTooLargeError, RequestError, RestoraError, UnsupportedMediaTypeError
from restora.serve.boundary import exchange_of
from restora.serve.problems import problem_of
from restora.serve.responses import make_route
from restora.serve.service import Service
from restora.serve.tickets import parse_deadline
from restora.serve.v2.bodies import HEADER_LENGTH, HttpInferRequest, read_body, write_body
from restora.serve.v2.infer import MAX_BYTES, run_network, shorten
from restora.serve.v2.networks import VERSION, NetworkTable
from restora.serve.v2.tensors import output_of
from restora.serve.watching import watching

logger = logging.getLogger(__name__)

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
        make_route(path, _with_errors(service, handler), (method,))
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
        body = await _read_limited(request, _SMALL_BODY)
        try:
            asked = json.loads(body or b"{}")
            only_ready = bool(asked.get("ready", False))
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
        with self._service.queue.admit(
            exchange.client, request_id=exchange.request_id, deadline_s=deadline
        ) as ticket:
            asked = await self._read(request)
            shorten(ticket, asked.request.timeout_s)

            def finish(result: Any) -> tuple[bytes, dict[str, str]]:
                datatype = output_of(info).datatype
                return write_body(name, VERSION, asked, OUTPUT, datatype, result)

            async with watching(request, ticket):
                body, headers = await run_network(
                    self._table, name, version, asked.request, ticket, finish
                )
        return Response(body, headers=headers)

    async def _read(self, request: Request) -> HttpInferRequest:
        body = await asyncio.wait_for(
            _read_limited(request, MAX_BYTES), self._service.options.upload_timeout_s
        )
        length = request.headers.get(HEADER_LENGTH)
        if length is not None or len(body) <= _SMALL_BODY:
            return read_body(body, length)
        return await asyncio.to_thread(read_body, body, None)


def _model_of(request: Request) -> tuple[str, str]:
    """Name and version of a path; "" for what it does not name."""
    return request.path_params.get("name", ""), request.path_params.get("version", "")


def _with_errors(service: Service, handler: Handler) -> Handler:
    """Errors in the form of the protocol: {"error": a sentence}, with restora's code beside it."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except RestoraError as error:
            problem = problem_of(error)
            service.note(error)
            service.metrics.problems.labels(problem.code).inc()
            values = {"error": problem.detail, "code": problem.code}
            return JSONResponse(values, problem.status, headers=problem.headers)

    return handle


async def _read_limited(request: Request, most: int) -> bytes:
    """Raises FileTooLargeError as soon as the body is known to be larger."""
    declared = request.headers.get("content-length", "0")
    body = bytearray()
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> FileTooLargeError:
    return FileTooLargeError(
        f"a request has more than {most} bytes, the limit: send smaller tiles, or a photo to "
        "/v1/restore"
    )
