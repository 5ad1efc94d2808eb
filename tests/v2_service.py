"""A service in a thread of this process, over HTTP and gRPC, whose networks a test can hold."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn

from fakes import NearestSession
from restora import Restorer
from restora.backends.base import Batch
from restora.serve import ServeOptions, Service, create_app
from restora.serve.models import ModelPool
from restora.serve.v2.networks import NetworkTable


class HeldSession(NearestSession):
    """Enlarges twice by repeating pixels; waits in front of each call until it may go on."""

    def __init__(self) -> None:
        super().__init__(multiple=2)
        self.info = replace(self.info, model="tiny")
        self.may_run = threading.Event()
        self.may_run.set()
        self.is_running = threading.Event()

    def run(self, batch: Batch) -> Batch:
        self.is_running.set()
        assert self.may_run.wait(60)
        return super().run(batch)


@dataclass(frozen=True)
class Served:
    """http, grpc: addresses such as "127.0.0.1:8000"."""

    service: Service
    http: str
    grpc: str
    _call: Callable[[Callable[[], Any]], Any]

    def call(self, work: Callable[[], Any]) -> Any:
        """What `work` gives in the thread of the service."""
        return self._call(work)


@contextmanager
def serving(open_restorer: Callable[[], Restorer], spool: Path, **options: Any) -> Iterator[Served]:
    """A service that is ready, until the block ends."""
    started, ended = threading.Event(), threading.Event()
    found: list[Served | BaseException] = []

    def run() -> None:
        try:
            asyncio.run(_serve(open_restorer, spool, options, found, started, ended))
        except BaseException as error:  # noqa: BLE001  raised in the thread of the test
            found.append(error)
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(60)
        first = found[0]
        if isinstance(first, BaseException):
            raise first
        yield first
    finally:
        ended.set()
        thread.join(60)
    assert not thread.is_alive()


async def _serve(
    open_restorer: Callable[[], Restorer],
    spool: Path,
    values: dict[str, Any],
    found: list[Served | BaseException],
    started: threading.Event,
    ended: threading.Event,
) -> None:
    from restora.serve.v2.grpc_server import start_grpc

    options = ServeOptions(spool=spool, page=False, drain_timeout_s=5, **values)
    pool = ModelPool(options)
    pool.adopt(open_restorer())
    service = Service(options, models=pool)
    config = uvicorn.Config(create_app(service), port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
        if task.done():
            task.result()
    await service.opened.wait()
    assert service.failure is None, service.failure
    rpc = await start_grpc(service, "127.0.0.1", 0, NetworkTable(service))
    port = server.servers[0].sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()

    def call(work: Callable[[], Any]) -> Any:
        async def wrapped() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(wrapped(), loop).result(60)

    found.append(Served(service, f"127.0.0.1:{port}", f"127.0.0.1:{rpc.port}", call))
    started.set()
    await asyncio.to_thread(ended.wait)
    await rpc.stop(5)
    server.should_exit = True
    await task
