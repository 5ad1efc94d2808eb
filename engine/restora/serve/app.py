"""The application: lists of routes, behind the layers that all requests pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Router

from restora.errors import RestoraError
from restora.serve.boundary import Boundary
from restora.serve.guard import Guard
from restora.serve.problem_layer import ProblemLayer
from restora.serve.routes_facts import fact_routes, health_routes
from restora.serve.routes_jobs import job_routes
from restora.serve.routes_photos import photo_routes
from restora.serve.service import Service

if TYPE_CHECKING:
    from restora.serve.v2.networks import NetworkTable

_ASKED = ["Authorization", "Content-Type", "X-Restora-Deadline", "X-Request-Id", "Last-Event-ID"]
_TOLD = [
    "X-Request-Id", "X-Restora-Model", "X-Restora-Precision", "X-Restora-Backend",
    "X-Restora-Scale", "X-Restora-Input-Size", "X-Restora-Output-Size", "X-Restora-Faces-Found",
    "X-Restora-Faces-Restored", "X-Restora-Face-Error", "Server-Timing", "Retry-After",
]  # fmt: skip


class _V2(NamedTuple):
    """Routes of the Open Inference Protocol, and the networks that gRPC serves too."""

    routes: list[BaseRoute]
    table: NetworkTable | None


def create_app(service: Service, *, v2: bool = True) -> Starlette:
    """The ASGI application of a service. Its lifespan opens the networks and, at the end, finishes
    what was admitted.

    v2: whether the Open Inference Protocol is served under /v2

    The page is served if options.page is set.
    """
    v2_parts = _open_v2(service) if v2 else _V2([], None)
    guarded: list[BaseRoute] = [
        *photo_routes(service),
        *fact_routes(service),
        *job_routes(service),
        *v2_parts.routes,
    ]
    routes: list[BaseRoute] = [
        *health_routes(service),
        *(_page_routes() if service.options.page else ()),
        # a redirect would lead clients behind a proxy from https:// to http://, with their tokens
        Mount("/", app=Guard(Router(guarded, redirect_slashes=False), service)),
    ]
    middleware = [Middleware(Boundary, service=service)]
    if service.options.cors:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(service.options.cors),
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=_ASKED,
                expose_headers=_TOLD,
            )
        )
    middleware.append(Middleware(ProblemLayer, service=service))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        service.start()
        try:
            async with _grpc(service, v2_parts.table):
                yield
                await service.drain()
        finally:
            await service.close()

    return Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={HTTPException: _raise_again},
        lifespan=lifespan,
    )


async def _raise_again(_request: Request, error: Exception) -> Response:
    """For ProblemLayer to answer."""
    raise error


def _open_v2(service: Service) -> _V2:
    """Imported with the service only: gRPC, which shares its statistics, is optional."""
    from restora.serve.v2.networks import NetworkTable
    from restora.serve.v2.routes import v2_routes

    table = NetworkTable(service)
    return _V2(list(v2_routes(service, table)), table)


def _page_routes() -> list[BaseRoute]:
    from restora.serve.page.routes import page_routes

    return list(page_routes())


@asynccontextmanager
async def _grpc(service: Service, table: NetworkTable | None) -> AsyncIterator[None]:
    options = service.options
    if options.grpc_port is None or table is None:
        yield
        return
    try:
        from restora.serve.v2.grpc_server import start_grpc

        server = await start_grpc(service, options.host, options.grpc_port, table)
    except RestoraError as error:
        service.failure = error  # run_service raises it
        yield
        return
    try:
        yield
    finally:
        if not await service.wait_for(asyncio.ensure_future(server.stop(service.left_s))):
            await server.stop(0)
