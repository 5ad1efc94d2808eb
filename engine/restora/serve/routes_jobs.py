"""Jobs over HTTP: made, watched, canceled, and their results taken."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute

from restora.errors import NotFoundError, RequestError, UnsupportedMediaTypeError
from restora.serve.boundary import client_of
from restora.serve.jobs import MOST_ROWS, Job, parse_job
from restora.serve.multipart import parse_object
from restora.serve.responses import (
    COMMENT,
    Heartbeat,
    event,
    events_response,
    json_response,
    make_route,
)
from restora.serve.service import Service
from restora.serve.uploads import iter_body

_MOST_BYTES = 1 << 16
_POLL_S = 0.2
_TIMEOUT_S = 10.0


def job_routes(service: Service) -> list[BaseRoute]:
    jobs = _Jobs(service)
    return [
        make_route("/v1/jobs", GET=jobs.list_all, POST=jobs.add),
        make_route("/v1/jobs/{id}", GET=jobs.show, DELETE=jobs.end),
        make_route("/v1/jobs/{id}/results", GET=jobs.results),
        make_route("/v1/jobs/{id}/files/{number}", GET=jobs.file),
        make_route("/v1/jobs/{id}/events", GET=jobs.events),
    ]


class _Jobs:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def add(self, request: Request) -> Response:
        self._service.require_ready()
        self._require_enabled()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # browsers ask before they send this for other sites
            raise UnsupportedMediaTypeError("a job is described in application/json")
        asked = parse_job(parse_object(await _read(request)))
        job = await anyio.to_thread.run_sync(self._service.jobs.add, asked, client_of(request))
        return json_response(job.document(), 201, {"Location": f"/v1/jobs/{job.id}"})

    async def list_all(self, request: Request) -> Response:
        self._require_enabled()
        jobs = self._service.jobs.of_client(client_of(request))
        return json_response({"jobs": [job.document() for job in jobs]})

    async def show(self, request: Request) -> Response:
        return json_response(self._job(request).document())

    async def end(self, request: Request) -> Response:
        """Cancel a job; forget one that has ended."""
        job = self._job(request)
        if job.has_ended:
            await anyio.to_thread.run_sync(self._service.jobs.remove, job)
            return Response(None, 204)
        await anyio.to_thread.run_sync(self._service.jobs.cancel, job)
        return json_response(job.document(), 202)

    async def results(self, request: Request) -> Response:
        """One page of them."""
        job = self._job(request)
        page = _page_of(request)
        first, most = page.get("from", 0), page.get("limit", MOST_ROWS)
        read = self._service.jobs.store.rows(job).read
        rows = await anyio.to_thread.run_sync(read, first, most + 1)
        document: dict[str, Any] = {"results": [_row_of(job, *row) for row in rows[:most]]}
        if len(rows) > most:
            query = urlencode({**page, "from": first + most})
            document["next"] = f"/v1/jobs/{job.id}/results?{query}"
        return json_response(document)

    async def file(self, request: Request) -> Response:
        job, number = self._job(request), _number_of(request.path_params["number"])
        if number is None:
            raise NotFoundError("the job has no such result")
        path = await anyio.to_thread.run_sync(self._service.jobs.file_of, job, number)
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return FileResponse(path, media_type=media_type)  # which answers ranges

    async def events(self, request: Request) -> Response:
        job = self._job(request)
        last = request.headers.get("last-event-id", "")
        return events_response(request, self._iter_events(job, _first_after(job, last)))

    def _require_enabled(self) -> None:
        if not self._service.jobs.enabled:
            raise NotFoundError("this service takes no jobs: it has no roots")

    def _job(self, request: Request) -> Job:
        self._require_enabled()
        return self._service.jobs.get(request.path_params["id"], client_of(request))

    async def _iter_events(self, job: Job, first: int) -> AsyncIterator[bytes]:
        """A client that comes back gets the results from number `first` on."""
        rows = self._service.jobs.store.rows(job)
        heartbeat, state, progress = Heartbeat(), "", b""
        while True:
            ended = job.has_ended  # before the rows, so that none is missed
            if job.state != state:
                state = job.state
                if not ended:
                    yield event("state", job.document())
            for number, row in await anyio.to_thread.run_sync(rows.read):
                if number >= first:
                    yield event("result", _row_of(job, number, row), id_=f"{job.resumed}-{number}")
            found = event("progress", job.document()["progress"])
            if found != progress:
                progress = found
                yield found
            elif heartbeat.due():
                yield COMMENT
            if ended:
                yield event("state", job.document())
                return
            if self._service.state != "ready":
                return  # the next server goes on: ask again
            await anyio.sleep(_POLL_S)


def _row_of(job: Job, number: int, row: dict[str, Any]) -> dict[str, Any]:
    href = f"/v1/jobs/{job.id}/files/{number}"
    return {"number": number, **row, **({} if row.get("status") == "failed" else {"href": href})}


def _page_of(request: Request) -> dict[str, int]:
    """Raises RequestError for other parameters and values."""
    page = {}
    for name, text in request.query_params.multi_items():
        number, least = _number_of(text), {"from": 0, "limit": 1}.get(name)
        if least is None:
            raise RequestError(f"results have no parameter {name[:40]!r}; they have from and limit")
        if number is None or number < least or (name == "limit" and number > MOST_ROWS):
            raise RequestError(
                f"from must be a number of at least 0, limit one of 1 to {MOST_ROWS}, got "
                f"{name}={text[:40]!r}"
            )
        page[name] = number
    return page


def _number_of(text: str) -> int | None:
    """Of a result; None for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _first_after(job: Job, last_id: str) -> int:
    """The number of the result after an event. A server that continues a job numbers its results
    from 0 again."""
    run, _, number = last_id.partition("-")
    last = _number_of(number)
    return last + 1 if last is not None and run == str(job.resumed) else 0


async def _read(request: Request) -> bytes:
    data = b""
    async for part in iter_body(request.receive, timeout_s=_TIMEOUT_S):
        data += part
        if len(data) > _MOST_BYTES:
            raise RequestError(f"the description of a job may have {_MOST_BYTES} bytes")
    return data
