"""A service with its page, in a thread of this process, on a free port."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from restora.serve import ServeOptions, Service, create_app
from restora.serve.tokens import ANONYMOUS


@dataclass(frozen=True)
class Page:
    """A running service. base: its address"""

    base: str
    service: Service
    loop: Any

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Fill the queue, of one request, within the block."""
        held = self.service.queue.admit(ANONYMOUS, request_id="held")
        self._call(held.__enter__)
        try:
            yield
        finally:
            self._call(lambda: held.__exit__(None, None, None))

    def _call(self, work: Any) -> None:
        done = threading.Event()

        def call() -> None:
            work()
            done.set()

        self.loop.call_soon_threadsafe(call)
        assert done.wait(10)


class _Server(uvicorn.Server):
    """Tells when it answers, and at which port."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self.loop: Any = None

    async def startup(self, sockets: Any = None) -> None:
        import asyncio

        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.listening.set()


@contextlib.contextmanager
def serve_page(options: ServeOptions) -> Iterator[Page]:
    """Serve until the block ends; the networks are open when it begins."""
    service = Service(options)
    config = uvicorn.Config(create_app(service), port=0, log_level="warning", lifespan="on")
    server = _Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.listening.wait(60)
        (listener,) = server.servers[0].sockets
        wait_until_open(service, server.loop)
        yield Page(f"http://127.0.0.1:{listener.getsockname()[1]}", service, server.loop)
    finally:
        server.should_exit = True
        thread.join(60)


def wait_until_open(service: Service, loop: Any) -> None:
    import asyncio

    asyncio.run_coroutine_threadsafe(service.opened.wait(), loop).result(120)
