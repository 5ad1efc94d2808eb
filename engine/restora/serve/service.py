"""What the routes of a service work with: its models, its queue, its limits and its clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from restora.backends import SessionStats, SharedSession
from restora.errors import (
    DeviceLostError,
    DrainingError,
    RateLimitError,
    RestoraError,
    StartingError,
)
from restora.serve.jobs import JOBS_SHARE, Jobs
from restora.serve.kept import KeptResults
from restora.serve.memory import count_capacity
from restora.serve.metrics import Metrics
from restora.serve.models import TILES_OF_LARGE, ModelPool
from restora.serve.options import ServeOptions
from restora.serve.photos import FOR_SMALL, PhotoStages, PhotoWork
from restora.serve.queue import DRAINING, QueueLimits, RequestQueue
from restora.serve.rates import Rates
from restora.serve.tickets import Ticket
from restora.serve.tokens import ANONYMOUS, Client, read_tokens

logger = logging.getLogger(__name__)

_POLL_S = 0.02

ServiceState = Literal["starting", "ready", "draining", "closed"]


class Service:
    """One service. Nothing is opened before start(); all methods but open() belong to the thread of
    one event loop.

    models: the pool to use; None: one that opens options.models

    Raises OptionError for tokens that cannot be read.
    """

    def __init__(self, options: ServeOptions, *, models: ModelPool | None = None) -> None:
        self.options = options
        self.state: ServiceState = "starting"
        self.failure: BaseException | None = None
        self.ended = True
        self._refusing = False
        self._end_by: float | None = None  # as of time.monotonic()
        self._hurry = asyncio.Event()
        self.lost: DeviceLostError | None = None
        self.tokens = read_tokens(options.tokens)
        self.rates = Rates(options.rate)
        self.metrics = Metrics()
        self.kept = KeptResults(keep_s=options.keep_s, most_bytes=options.keep_bytes)
        self.models = models or ModelPool(options)
        self.jobs = Jobs(options, self.models, note=self.note)
        self.tickets: dict[tuple[str, str], Ticket] = {}
        self.opened = asyncio.Event()
        self._adopted = models is not None
        self._queue: RequestQueue | None = None
        self._photos: PhotoWork | None = None
        self._spool: Path | None = None
        self._opening: asyncio.Task[None] | None = None
        self._resources = contextlib.ExitStack()
        self.metrics.watch(self._gauges, self._network_stats, self.jobs.counts)

    @property
    def queue(self) -> RequestQueue:
        """Raises StartingError before the networks are open."""
        if self._queue is None:
            raise self.starting_error()
        return self._queue

    @property
    def photos(self) -> PhotoWork:
        if self._photos is None:
            raise self.starting_error()
        return self._photos

    @property
    def spool(self) -> Path:
        """The folder for uploads and results."""
        assert self._spool is not None
        return self._spool

    def start(self) -> None:
        """Begin to open the networks; `opened` is set when that has ended, well or not."""
        spool = tempfile.TemporaryDirectory(prefix="restora-", dir=self.options.spool)
        self._spool = Path(self._resources.enter_context(spool))
        self._opening = asyncio.get_running_loop().create_task(self._open())

    def require_ready(self) -> None:
        """Raises StartingError or DrainingError, and counts it, unless requests are served."""
        if self.state == "starting":
            self.metrics.refused("starting")
            raise self.starting_error()
        if self._refusing:
            self.metrics.refused("draining")
            raise DrainingError(DRAINING)

    def check_rate(self, client: Client, address: str | None = None) -> None:
        """Count a request of a client, by its token, or by its address where there are no tokens.

        Raises RateLimitError if it must wait.
        """
        key = f"address {address}" if client is ANONYMOUS else client.name
        try:
            self.rates.check(key, client.rate)
        except RateLimitError:
            self.metrics.refused("rate-limit")
            raise

    def begin_drain(self) -> None:
        """Report that the service is not ready. Requests are still taken until refuse(), for those
        that were sent before anybody read the report."""
        if self.state in ("starting", "ready"):
            self.state = "draining"
            self.metrics.ready.set(0)
            self.jobs.pause()

    def refuse(self) -> None:
        """Take no more requests. The time within which those that were admitted must end begins."""
        self.begin_drain()
        self._refusing = True
        if self._end_by is None:
            self._end_by = monotonic() + self.options.drain_timeout_s

    def stop_waiting(self) -> None:
        """Take no more requests, and let those that were admitted end now."""
        self.refuse()
        self._end_by = monotonic()
        self._hurry.set()

    @property
    def left_s(self) -> float:
        """Seconds that are left to end what was admitted, for all steps of the end together."""
        left = self.options.drain_timeout_s if self._end_by is None else self._end_by - monotonic()
        return max(0.0, left)

    async def drain(self) -> bool:
        """Take no more requests and finish those that were admitted. Returns whether all of them
        ended within options.drain_timeout_s, which begins with refuse()."""
        self.refuse()
        if self._queue is None:
            return True
        draining = asyncio.ensure_future(self._queue.drain(self.left_s))
        if await self.wait_for(draining) and draining.result():
            return True
        draining.cancel()
        logger.warning("requests did not end within %g s", self.options.drain_timeout_s)
        return False

    async def wait_for(self, task: asyncio.Future[Any]) -> bool:
        """Wait until a task has ended, but for no longer than left_s, and not after
        stop_waiting(). Returns whether it has ended."""
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait(
                {task, hurry}, timeout=self.left_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            hurry.cancel()
        return task.done()

    async def close(self) -> bool:
        """Free everything. Requests that still run end at their next tile. Returns False if photos
        of a job were still in progress after options.drain_timeout_s: threads run on then, and the
        process is to be ended.
        """
        self.refuse()
        if self._opening is not None and not self._opening.done():
            await asyncio.wait([self._opening])
        if self._queue is not None:
            await self._queue.close()
        while self.jobs.is_running and self.left_s > 0:
            await asyncio.sleep(_POLL_S)
        ended = await asyncio.to_thread(self.jobs.close, 0.0)
        self.kept.close()
        if ended:
            await asyncio.to_thread(self.models.close)
        self._resources.close()
        self.state = "closed"
        self.ended = ended
        return ended

    def note(self, error: BaseException) -> None:
        """Record an error after which the GPU is of no use: the process must be replaced."""
        if isinstance(error, DeviceLostError) and self.lost is None:
            logger.error("the GPU is lost: %s", error)
            self.lost = error

    async def _open(self) -> None:
        try:
            if not self._adopted:
                await asyncio.to_thread(self.models.open)
            options = self.options
            restorers = self.models.restorers
            capacity = count_capacity(restorers, options.restore.memory)
            stages = PhotoStages.around(restorers[0], memory=options.restore.memory)
            self._photos = PhotoWork(
                stages, options.limits, self.spool, options.memory_upload_bytes
            )
            shared = capacity - (capacity // JOBS_SHARE if self.jobs.enabled else 0)
            tile_px = self.models.tile_px()
            limits = QueueLimits(
                options.queue,
                stages.workers,
                shared,
                small_px=tile_px,
                large_px=TILES_OF_LARGE * tile_px,
                for_small=FOR_SMALL,
            )
            self._queue = RequestQueue(limits, self.metrics)
            await asyncio.to_thread(self.jobs.start, capacity)
            if self.state == "starting":
                self.state = "ready"
                self.metrics.ready.set(1)
        except Exception as error:  # run_service raises it
            if not isinstance(error, RestoraError):
                logger.exception("the service cannot start")
            self.failure = error
        finally:
            self.opened.set()

    def starting_error(self) -> StartingError:
        return StartingError("the networks are not open yet", retry_after_s=2.0)

    def _gauges(self) -> dict[str, float]:
        queue = self._queue
        return {
            "queue_waiting": 0 if queue is None else queue.waiting,
            "queue_limit": self.options.queue,
            "in_flight": 0 if queue is None else queue.running,
            "memory_budget_bytes": 0 if queue is None else queue.limits.memory,
            "memory_held_bytes": 0 if queue is None else queue.held_bytes,
            "kept_results": len(self.kept),
            "kept_bytes": self.kept.bytes,
        }

    def _network_stats(self) -> dict[str, SessionStats]:
        return {
            name: session.use
            for name, session in self.models.networks().items()
            if isinstance(session, SharedSession)
        }


@contextlib.contextmanager
def track(service: Service, ticket: Ticket) -> Iterator[None]:
    """Let the progress of a request be asked for by its id, within the block."""
    key = (ticket.client.name, ticket.request_id)
    service.tickets[key] = ticket
    try:
        yield
    finally:
        if service.tickets.get(key) is ticket:
            del service.tickets[key]
