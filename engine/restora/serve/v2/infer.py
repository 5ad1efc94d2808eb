"""Run a network for a request: behind the service's queue, in the session that photos use."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from restora.artifact import ArtifactInfo
from restora.backends import Batch, Session
from restora.errors import RestoraError
from restora.serve.tickets import Ticket
from restora.serve.v2.networks import NetworkTable
from restora.serve.v2.tensors import InferRequest, batch_of, count_pixels
from restora.tile_memory import bytes_of_network

T = TypeVar("T")
_COPIES = 3  # of input and output at once: as received, as an array, in the session


async def run_network(
    table: NetworkTable,
    name: str,
    version: str,
    request: InferRequest,
    ticket: Ticket,
    finish: Callable[[Batch], T],
) -> T:
    """What `finish` makes of the result, in a worker thread too.

    Raises UnknownModelError, RequestError or ShapeError for a request that the network does not
    take, and what RequestQueue.run and the session raise.
    """
    session, statistics = table.get(name, version), table.statistics_of(name)
    arrived, seconds = time.perf_counter(), {}
    try:

        def work() -> tuple[T, int]:
            ticket.check()
            started = time.perf_counter()
            seconds["queue"] = started - arrived
            batch = batch_of(request, session.info)
            read = time.perf_counter()
            seconds["compute_input"] = read - started
            result = session.run(batch)
            done = time.perf_counter()
            seconds["compute_infer"] = done - read
            finished = finish(result)
            seconds["compute_output"] = time.perf_counter() - done
            return finished, len(batch)

        pixels = sum(count_pixels(one.shape) for one in request.inputs)
        answer, pictures = await table.service.queue.run(
            ticket, work, pixels=pixels, memory_bytes=estimate_bytes(session, request, pixels)
        )
    except RestoraError as error:
        table.service.note(error)
        statistics.failed(time.perf_counter() - arrived)
        raise
    seconds["success"] = time.perf_counter() - arrived
    statistics.succeeded(pictures, seconds)
    return answer


def shorten(ticket: Ticket, timeout_s: float | None) -> None:
    """Let the request end after this time from its arrival, if that is sooner."""
    if timeout_s is not None:
        deadline = ticket.arrived + timeout_s
        ticket.deadline = deadline if ticket.deadline is None else min(deadline, ticket.deadline)


def estimate_bytes(session: Session, request: InferRequest, pixels: int) -> int:
    """Main memory of a request: its arrays, and the network beyond a tile, which the network may
    take at any time."""
    info = session.info
    arrays = 3 * np.dtype(info.io).itemsize * pixels * (1 + info.scale**2)
    most = max((count_pixels(one.shape) for one in request.inputs), default=0)
    return _COPIES * arrays + _beyond_a_tile(session, info, most)


def _beyond_a_tile(session: Session, info: ArtifactInfo, pixels: int) -> int:
    largest = session.limits.max_tile or 0
    if info.side is not None or (largest and pixels <= largest**2):
        return 0
    return bytes_of_network(info, session.limits, pixels)
