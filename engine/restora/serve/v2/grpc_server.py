"""The Open Inference Protocol over gRPC, in the event loop of the service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from restora.artifact.tensors import OUTPUT
from restora.backends import Batch
from restora.errors import ClientGoneError, MissingBackendError, OptionError, RestoraError
from restora.serve.problems import Problem, problem_of
from restora.serve.service import Service
from restora.serve.tickets import Ticket
from restora.serve.tokens import Client
from restora.serve.v2.bodies_held import MAX_BYTES
from restora.serve.v2.infer import run_network, shorten
from restora.serve.v2.networks import VERSION, NetworkTable
from restora.serve.v2.tensors import output_of

try:
    import grpc
    from google.protobuf.json_format import ParseDict

    from restora.serve.v2.grpc_tensors import request_from, write_response
    from restora.serve.v2.messages import CLASSES, METHODS, SERVICE, STREAM
except ImportError as error:
    raise MissingBackendError(
        f"gRPC needs grpcio and protobuf: pip install 'restora[serve-grpc]' ({error})"
    ) from error

logger = logging.getLogger(__name__)

CODE_KEY = "restora-code"  # of the trailing metadata of an error
_OVERHEAD_BYTES = 1 << 16
_OTHER_CALLS = 64  # beside those that wait: that run, and that only ask
_STATUSES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class GrpcServer:
    """A running server. port: the one that it listens at."""

    def __init__(self, server: Any, port: int) -> None:
        self._server = server
        self.port = port

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, and end those that are left after this time."""
        await self._server.stop(grace_s)


async def start_grpc(
    service: Service, host: str, port: int, table: NetworkTable | None = None
) -> GrpcServer:
    """Listen at an address. port: 0 for a free one.

    Raises OptionError if the address is in use or cannot be listened at.
    """
    most = MAX_BYTES + _OVERHEAD_BYTES
    server = grpc.aio.server(
        maximum_concurrent_rpcs=service.options.queue + _OTHER_CALLS,
        options=[
            ("grpc.max_receive_message_length", most),
            ("grpc.max_send_message_length", -1),  # answers are larger by the scale, squared
            ("grpc.so_reuseport", 0),
        ],
    )
    handlers = _Handlers(table or NetworkTable(service))
    server.add_generic_rpc_handlers((handlers.generic(),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OptionError(
            f"the service cannot listen at {address} for gRPC: {error}; choose another port "
            "(--grpc-port)"
        ) from error
    await server.start()
    logger.info("the Open Inference Protocol is served over gRPC at %s:%d", host, bound)
    return GrpcServer(server, bound)


class _Handlers:
    def __init__(self, table: NetworkTable) -> None:
        self._table = table
        self._service = table.service

    def generic(self) -> Any:
        """All methods, for grpc."""
        methods: dict[str, Callable[[Any, Any, Client], Awaitable[dict[str, Any]]]] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._metadata,
            "ModelConfig": self._config,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._unary(name, methods[name]) if name in methods else self._infer,
                CLASSES[f"{name}Request"].FromString,
                CLASSES[f"{name}Response"].SerializeToString,
            )
            for name in METHODS
        }
        handlers[STREAM] = grpc.stream_stream_rpc_method_handler(
            self._stream,
            CLASSES["ModelInferRequest"].FromString,
            CLASSES["ModelStreamInferResponse"].SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _unary(
        self, name: str, method: Callable[[Any, Any, Client], Awaitable[dict[str, Any]]]
    ) -> Any:
        """A handler that gives what `method` describes."""

        async def handle(request: Any, context: Any) -> Any:
            try:
                # probes need no token, as /health/live and /health/ready
                open_ = name in ("ServerLive", "ServerReady")
                client = Client("probe") if open_ else self._client_of(context)
                values = await method(request, context, client)
                return ParseDict(values, CLASSES[f"{name}Response"]())
            except Exception as error:  # noqa: BLE001  every error has a status
                await self._abort(context, error)

        return handle

    async def _infer(self, request: Any, context: Any) -> Any:
        try:
            return await self._run(request, context, _Waiting(context))
        except Exception as error:  # noqa: BLE001  every error has a status
            await self._abort(context, error)

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """One answer for each request, in their order; an error costs its request alone."""
        waiting = _Waiting(context)
        async for request in requests:
            answer = CLASSES["ModelStreamInferResponse"]()
            try:
                answer.infer_response.CopyFrom(await self._run(request, context, waiting))
            except Exception as error:  # noqa: BLE001  the stream goes on
                answer.error_message = self._problem_of(error).detail
                answer.infer_response.id = request.id
            yield answer

    async def _run(self, request: Any, context: Any, waiting: _Waiting) -> Any:
        self._service.require_ready()
        client = self._client_of(context)
        name, version = request.model_name, request.model_version
        info = self._table.get(name, version).info
        asked = request_from(request)

        def finish(result: Batch) -> Any:
            datatype = output_of(info).datatype
            return write_response(name, VERSION, asked.id, OUTPUT, datatype, result)

        left = context.time_remaining()
        limits = [limit for limit in (left, self._service.options.deadline_s) if limit is not None]
        admitted = self._service.queue.admit(
            client, request_id=request.id or "grpc", deadline_s=min(limits, default=None)
        )
        size = request.ByteSize()
        try:
            self._table.bodies.add(size)
            with admitted as ticket, waiting.on(ticket):
                shorten(ticket, asked.timeout_s)
                return await run_network(self._table, name, version, asked, ticket, finish)
        finally:
            self._table.bodies.remove(size)

    def _client_of(self, context: Any) -> Client:
        header = dict(context.invocation_metadata() or ()).get("authorization")
        client = self._service.tokens.authenticate(header)
        self._service.check_rate(client, _host_of(context.peer()))
        return client

    async def _abort(self, context: Any, error: Exception) -> None:
        """End a call with the status of an error, and restora's code in its trailing metadata."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        problem = self._problem_of(error)
        await context.abort(
            _STATUSES.get(problem.status, grpc.StatusCode.INTERNAL),
            problem.detail,
            trailing_metadata=_metadata_of(problem),
        )

    def _problem_of(self, error: Exception) -> Problem:
        """The problem that the client is told of, which is counted."""
        if not isinstance(error, RestoraError):
            logger.error("a call failed", exc_info=error)
        problem = problem_of(error)
        self._service.metrics.problems.labels(problem.code).inc()
        return problem

    async def _live(self, _request: Any, _context: Any, _client: Client) -> dict[str, Any]:
        return {"live": self._service.lost is None}

    async def _ready(self, _request: Any, _context: Any, _client: Client) -> dict[str, Any]:
        return {"ready": self._service.state == "ready"}

    async def _model_ready(self, request: Any, _context: Any, _client: Client) -> dict[str, Any]:
        return {"ready": self._table.is_ready(request.name, request.version)}

    async def _server_metadata(
        self, _request: Any, _context: Any, _client: Client
    ) -> dict[str, Any]:
        return self._table.describe_server()

    async def _metadata(self, request: Any, _context: Any, _client: Client) -> dict[str, Any]:
        return self._table.describe(request.name, request.version)

    async def _config(self, request: Any, _context: Any, _client: Client) -> dict[str, Any]:
        return {"config": self._table.config(request.name, request.version)}

    async def _statistics(self, request: Any, _context: Any, _client: Client) -> dict[str, Any]:
        return self._table.count(request.name, request.version)

    async def _index(self, request: Any, _context: Any, _client: Client) -> dict[str, Any]:
        return {"models": self._table.index(only_ready=request.ready)}


class _Waiting:
    """The client of one call, while it waits for the answer to a request."""

    def __init__(self, context: Any) -> None:
        self._ticket: Ticket | None = None
        context.add_done_callback(lambda _: self._cancel())

    @contextmanager
    def on(self, ticket: Ticket) -> Iterator[None]:
        """Cancel the ticket if the client ends its call within the block."""
        self._ticket = ticket
        try:
            yield
        finally:
            self._ticket = None

    def _cancel(self) -> None:
        if self._ticket is not None:
            self._ticket.cancel(ClientGoneError("the client has ended its call"))


def _host_of(peer: str) -> str:
    """The address in "ipv4:127.0.0.1:5000" or "ipv6:[::1]:5000", whose brackets are escaped."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


def _metadata_of(problem: Problem) -> tuple[tuple[str, str], ...]:
    found = [(CODE_KEY, problem.code)]
    if problem.retry_after is not None:
        found.append(("retry-after", str(problem.retry_after)))
    return tuple(found)
