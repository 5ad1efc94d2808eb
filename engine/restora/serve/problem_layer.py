"""The layer that answers errors with problem documents."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from restora.errors import ClientGoneError, ForbiddenError, RestoraError
from restora.serve.boundary import exchange_in
from restora.serve.problems import CONTENT_TYPE, problem_of, problem_of_status
from restora.serve.service import Service

logger = logging.getLogger(__name__)


class ProblemLayer:
    """Middleware below that for CORS, so that pages of allowed origins can read problems too.

    It refuses requests that name another host.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_on(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            self._check_host(Headers(scope=scope).get("host"))
            await self._app(scope, receive, send_on)
        except Exception as error:
            if has_begun:  # the client has a part of another answer
                raise
            await self._answer(error, scope)(scope, receive, send)

    def _check_host(self, host: str | None) -> None:
        """A page of another site may have a name that leads to this machine."""
        options = self._service.options
        if "*" in options.allowed_hosts or host is None:
            return
        if self._service.tokens.required and not options.allowed_hosts:
            return
        name = (host.rsplit(":", 1)[0] if not host.endswith("]") else host).lower()
        allowed = {"localhost", *map(str.lower, options.allowed_hosts)}
        if name not in allowed and not _is_address(name):
            raise ForbiddenError(
                f"this service is not called {name[:80]!r}: name it with --allowed-host"
            )

    def _answer(self, error: Exception, scope: Scope) -> Response:
        exchange = exchange_in(scope)
        self._service.note(error)
        more: Mapping[str, str] = {}
        if isinstance(error, HTTPException):
            problem = problem_of_status(error.status_code, str(error.detail))
            more = error.headers or {}
        else:
            problem = problem_of(error)
            if not isinstance(error, RestoraError):
                logger.error("request %s failed", exchange.request_id, exc_info=error)
        self._service.metrics.problems.labels(problem.code).inc()
        if isinstance(error, ClientGoneError):
            logger.info("%s: %s", exchange.request_id, error)
        return Response(
            problem.body(exchange.request_id, v2=exchange.route.startswith("/v2")),
            problem.status,
            {**problem.headers, **more},
            CONTENT_TYPE,
        )


def _is_address(host: str) -> bool:
    """Whether a host is an IP address, which, unlike a name, cannot be made to lead elsewhere."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
