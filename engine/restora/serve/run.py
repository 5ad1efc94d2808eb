"""Run a service in a server of its own until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from restora.errors import OptionError
from restora.serve.app import create_app
from restora.serve.options import ServeOptions
from restora.serve.protocol import Protocol
from restora.serve.service import Service

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_HEADER_BYTES = 1 << 15
_KEEP_ALIVE_S = 5
_SEND_S = 60.0  # a client that takes no byte of its answer for so long is disconnected
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Report = Callable[[str], None]


def run_service(options: ServeOptions, *, report: Report = logger.info) -> bool:
    """Serve until SIGTERM or Ctrl-C, then finish what was admitted and return. A second signal ends
    requests at once; a third one does what it did before.

    Returns whether all work ended. False: photos of a job are still in progress, in threads that
    would keep the process for as long as they take; the next server continues the job.

    report: called with one line when the service listens, is ready, and begins to drain

    Raises OptionError if the address cannot be used, and what opening the networks raises.
    """
    listener = listen(options)
    with listener:
        service = Service(options)
        asyncio.run(_run(service, listener, report))
        return service.ended


def make_server(service: Service, *, v2: bool = True) -> uvicorn.Server:
    """The server of a service, which handles no signals; it is run on a socket that listens.

    v2: see create_app
    """
    options = service.options
    config = uvicorn.Config(
        create_app(service, v2=v2),
        http=Protocol,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(options.drain_timeout_s)),
    )
    return _Server(config)


async def _run(service: Service, listener: socket.socket, report: Report) -> None:
    server = make_server(service)
    ending = _Ending(service, server, report)
    host, port = listener.getsockname()[:2]
    report(f"listening at http://{f'[{host}]' if ':' in host else host}:{port}")
    watching = asyncio.create_task(_watch_opening(service, server, report))
    with ending.handling():
        await server.serve([listener])
        if server.force_exit:  # uvicorn leaves the lifespan out; canceled, gRPC ends the process
            await server.lifespan.shutdown()
    watching.cancel()
    if service.failure is not None:
        raise service.failure


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals, which ends the process by the signal again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Ending:
    """What signals do: the first one drains, the second one ends."""

    def __init__(self, service: Service, server: uvicorn.Server, report: Report) -> None:
        self._service = service
        self._server = server
        self._report = report
        self._asked = False
        self._before: dict[int, Any] = {}

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            # not by the loop: handlers of the command must be there again afterwards
            self._before[number] = signal.signal(
                number, lambda _n, _f: loop.call_soon_threadsafe(self._ask)
            )
        try:
            yield
        finally:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self) -> None:
        if self._asked:
            self._server.force_exit = True
            self._service.stop_waiting()
            self._end()
            self._restore()
            return
        self._asked = True
        self._report("finishing requests; a second signal ends them")
        self._service.begin_drain()
        delay_s = self._service.options.drain_delay_s
        asyncio.get_running_loop().call_later(delay_s, self._end)

    def _end(self) -> None:
        self._service.refuse()
        self._server.should_exit = True


async def _watch_opening(service: Service, server: uvicorn.Server, report: Report) -> None:
    await service.opened.wait()
    if service.failure is not None:
        server.should_exit = True
        return
    for restorer in service.models.restorers:
        for line in dict.fromkeys(network.describe() for network in restorer.networks):
            report(line)
    report("ready")


def listen(options: ServeOptions) -> socket.socket:
    """A socket at the address of the options. Raises OptionError if it cannot be used."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it answers wait 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it
            milliseconds = round(1000 * _SEND_S)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        listener.bind((options.host.strip("[]"), options.port))
    except OSError as error:
        listener.close()
        raise OptionError(
            f"the service cannot listen at {options.host}:{options.port}: {error.strerror or error}"
        ) from error
    return listener
