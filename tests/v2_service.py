"""A service in a thread of this process, over HTTP and gRPC, whose networks a test can hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fakes import NearestSession
from restora import Restorer
from restora.backends.base import Batch
from restora.serve import Service
from restora.serve.v2.networks import NetworkTable
from serve_rig import Running, T, running, service_on


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
    """A running service. http, grpc: addresses such as "127.0.0.1:8000"."""

    running: Running
    grpc: str

    @property
    def service(self) -> Service:
        return self.running.service

    @property
    def http(self) -> str:
        return self.running.address

    def call(self, work: Callable[[], T]) -> T:
        """What `work` returns in the thread of the service."""
        return self.running.call(work)


@contextmanager
def serving(open_restorer: Callable[[], Restorer], spool: Path, **options: Any) -> Iterator[Served]:
    """A service that is ready, until the block ends."""
    from restora.serve.v2.grpc_server import start_grpc

    service = service_on(open_restorer(), spool=spool, drain_timeout_s=5, **options)
    with running(service, v2=True) as found:
        rpc = found.wait_for(start_grpc(service, "127.0.0.1", 0, NetworkTable(service)))
        try:
            yield Served(found, f"127.0.0.1:{rpc.port}")
        finally:
            found.wait_for(rpc.stop(5))
