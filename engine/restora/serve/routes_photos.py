"""POST /v1/restore, its progress, and the results that are kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from restora.errors import (
    FileTooLargeError,
    NotFoundError,
    RequestError,
    UnsupportedMediaTypeError,
)
from restora.image import PhotoHeader
from restora.serve.accept import MEDIA_TYPES, choose_answer
from restora.serve.answers import answer_document, answer_headers
from restora.serve.boundary import client_of, exchange_of
from restora.serve.memory import bytes_for
from restora.serve.multipart import PhotoForm, find_boundary
from restora.serve.parameters import PhotoParameters, parse_parameters
from restora.serve.photos import MOST_PROBES, Made, check_result_size
from restora.serve.problems import problem_of
from restora.serve.responses import (
    COMMENT,
    Heartbeat,
    bytes_response,
    event,
    events_response,
    json_response,
    make_route,
)
from restora.serve.service import Service, track
from restora.serve.tickets import Ticket, parse_deadline
from restora.serve.uploads import Blob, iter_body
from restora.serve.watching import watching

_FORM = "multipart/form-data"
_JSON = "application/json"
_FORM_BYTES = 1 << 20  # of a form beside its photo
_POLL_S = 0.1
_WAIT_FOR_TICKET_S = 10.0


def photo_routes(service: Service) -> list[BaseRoute]:
    photos = _Photos(service)
    return [
        make_route("/v1/restore", POST=photos.restore),
        make_route("/v1/progress/{request_id}", GET=photos.progress),
        make_route("/v1/results/{id}", GET=photos.result, DELETE=photos.remove_result),
    ]


class _Photos:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._limiter: anyio.CapacityLimiter | None = None

    async def restore(self, request: Request) -> Response:
        service, exchange = self._service, exchange_of(request)
        service.require_ready()
        options = service.options
        ext, as_json = choose_answer(request.headers.get("accept"))
        asked = parse_parameters(request.query_params.multi_items())
        deadline_s = parse_deadline(request.headers.get("x-restora-deadline"), options.deadline_s)
        self._check_length(request)
        admitted = service.queue.admit(
            exchange.client, request_id=exchange.request_id, deadline_s=deadline_s
        )
        service.models.variant(asked, large=False)  # refuses before the body is received
        with contextlib.ExitStack() as stack:
            ticket = stack.enter_context(admitted)
            stack.enter_context(track(service, ticket))
            upload = stack.enter_context(contextlib.closing(self._make_blob()))
            try:
                given = await self._receive(request, upload, ticket)
                parameters = parse_parameters(given, ext=ext)
                uploaded_s = time.monotonic() - ticket.arrived
                async with watching(request, ticket):
                    source = upload.finish()
                    header, made, queued_s = await self._work(
                        ticket, source, parameters, keep=as_json
                    )
            except BaseException as error:
                ticket.end(problem_of(error).code)
                raise
            ticket.end()
            seconds = {"upload": uploaded_s, "queue": queued_s + made.waited_s, **made.seconds}
            seconds["total"] = time.monotonic() - ticket.arrived
            exchange.facts["restora.model"] = made.model
            exchange.facts |= {f"restora.{name}_s": value for name, value in seconds.items()}
            return self._answer(request, header, made, seconds, as_json=as_json)

    async def progress(self, request: Request) -> Response:
        key = (client_of(request).name, request.path_params["request_id"])
        until = anyio.current_time() + _WAIT_FOR_TICKET_S
        while (ticket := self._service.tickets.get(key)) is None:
            if anyio.current_time() > until or self._service.state != "ready":
                raise NotFoundError("no request with this id is under way")
            await anyio.sleep(_POLL_S)
        return events_response(request, self._iter_progress(ticket))

    async def result(self, request: Request) -> Response:
        kept = self._service.kept.get(request.path_params["id"], client_of(request))
        left = max(0, int(kept.until - time.monotonic()))
        headers = {"Cache-Control": f"private, max-age={left}"}
        return bytes_response(request, kept.blob.finish(), kept.media_type, headers)

    async def remove_result(self, request: Request) -> Response:
        self._service.kept.remove(request.path_params["id"], client_of(request))
        return Response(None, 204)

    def _probing(self) -> anyio.CapacityLimiter:
        """Threads of their own: others send results."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(MOST_PROBES)
        return self._limiter

    def _make_blob(self) -> Blob:
        options = self._service.options
        return Blob(
            self._service.spool,
            memory_bytes=options.memory_upload_bytes,
            most_bytes=options.limits.max_file_bytes,
        )

    def _check_length(self, request: Request) -> None:
        """By the header, before anything is received."""
        most = self._service.options.limits.max_file_bytes + _FORM_BYTES
        length = request.headers.get("content-length", "")
        if length.isascii() and length.isdecimal() and int(length[:20]) > most:
            raise FileTooLargeError(
                f"a photo may have {self._service.options.limits.max_file_bytes} bytes here, "
                f"this request has {length[:20]}"
            )

    async def _receive(
        self, request: Request, upload: Blob, ticket: Ticket
    ) -> list[tuple[str, object]]:
        """The photo goes to `upload`. Returns the parameters of query and form."""
        given: list[tuple[str, object]] = list(request.query_params.multi_items())
        content_type = request.headers.get("content-type", "")
        kind = content_type.partition(";")[0].strip().lower()
        if kind == _JSON:
            raise UnsupportedMediaTypeError(
                f"the body must be a photo, or a form ({_FORM}) with one, not {kind}"
            )
        form = None
        if kind == _FORM:
            form = PhotoForm(find_boundary(content_type), upload.write)
        take = upload.write if form is None else form.feed
        timeout_s = self._service.options.upload_timeout_s
        async for part in iter_body(request.receive, timeout_s=timeout_s, ticket=ticket):
            if upload.needs_disk(len(part)):
                await anyio.to_thread.run_sync(take, part)
            else:
                take(part)
        if form is not None:
            form.finish()
            given += form.fields
        if not upload.size:
            raise RequestError("the request has no photo")
        return given

    async def _work(
        self, ticket: Ticket, source: Path | bytes, parameters: PhotoParameters, *, keep: bool
    ) -> tuple[PhotoHeader, Made, float]:
        """Returns the header of the photo, its result, and the seconds in the queue."""
        service = self._service
        restorer = service.models.variant(parameters, large=False)
        header = await self._probe(ticket, source)
        check_result_size(header, restorer, parameters)
        pixels = header.width * header.height
        weight = service.queue.limits.weigh(pixels)
        if weight == "large":
            restorer = service.models.variant(parameters, large=True)
        queued = time.monotonic()
        begun: list[float] = []

        def work() -> Made:
            begun.append(time.monotonic())
            return service.photos.restore(
                ticket, source, restorer, parameters, weight=weight, keep=keep
            )

        memory_bytes = bytes_for(header, restorer, parameters.outscale)
        try:
            made = await service.queue.run(
                ticket,
                work,
                pixels=pixels,
                memory_bytes=memory_bytes,
                discard=lambda made: made.blob.close(),
            )
        except Exception:
            service.metrics.photos.labels(restorer.model, "failed").inc()
            raise
        service.metrics.made(made, pixels)
        return header, made, begun[0] - queued

    async def _probe(self, ticket: Ticket, source: Path | bytes) -> PhotoHeader:
        """Raises what PhotoWork.probe raises, DeadlineExceededError, and ClientGoneError."""
        ticket.check()
        with anyio.CancelScope() as scope:
            if ticket.deadline is not None:
                scope.deadline = anyio.current_time() + ticket.deadline - time.monotonic()
            ticket.on_cancel(lambda _: scope.cancel())
            try:
                return await anyio.to_thread.run_sync(
                    self._service.photos.probe,
                    source,
                    limiter=self._probing(),
                    abandon_on_cancel=True,
                )
            finally:
                ticket.on_cancel(None)
        ticket.check()
        raise ticket.deadline_error()

    def _answer(
        self,
        request: Request,
        header: PhotoHeader,
        made: Made,
        seconds: dict[str, float],
        *,
        as_json: bool,
    ) -> Response:
        exchange, service = exchange_of(request), self._service
        network = service.models.network(made.model)
        media_type = MEDIA_TYPES[made.format]
        if not as_json:
            headers = answer_headers(header, made, network, seconds)
            return bytes_response(request, made.blob.finish(), media_type, headers, unlink=True)
        kept = service.kept.add(made.blob, media_type, exchange.client)
        return json_response(
            answer_document(exchange.request_id, header, made, network, seconds, kept)
        )

    async def _iter_progress(self, ticket: Ticket) -> AsyncIterator[bytes]:
        heartbeat, last = Heartbeat(), b""
        while True:
            has_ended = ticket.shown_state in ("done", "failed")
            found = event("progress", self._progress_of(ticket))
            if found != last:
                yield found
                last = found
            elif heartbeat.due():
                yield COMMENT
            if has_ended:
                return
            await anyio.sleep(_POLL_S)

    def _progress_of(self, ticket: Ticket) -> dict[str, object]:
        state = ticket.shown_state
        found: dict[str, object] = {"state": state}
        if state == "queued":
            found["position"] = self._service.queue.position(ticket)
        if state == "restoring":
            found |= {"done": ticket.done, "total": ticket.total}
        return found | ({} if ticket.code is None else {"code": ticket.code})
