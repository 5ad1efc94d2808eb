"""A service on fake networks, in a server of its own thread, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np

from faces_fakes import FaceSession, FixedDetector
from fakes import NearestSession, tiny_artifact
from processes import start
from restora import Photo, write_photo
from restora.backends.base import Batch, Session
from restora.faces import FaceRestorer
from restora.faces.options import FaceOptions
from restora.faces.pipeline import FaceStage
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.serve import ServeOptions, Service
from restora.serve.models import ModelPool
from restora.serve.run import listen, make_server
from restora.serve.tokens import ANONYMOUS

T = TypeVar("T")

WAIT_S = 60.0
_FACE = np.array([[8.0, 5.0], [16.0, 5.0], [12.0, 8.0], [9.0, 11.0], [15.0, 11.0]])


class GateSession(NearestSession):
    """Runs one tile for each permit; `entered` counts tiles that wait for theirs."""

    def __init__(self, *, is_open: bool = False) -> None:
        super().__init__()
        self.permits = threading.Semaphore(0)
        self.is_open = is_open
        self.entered = threading.Semaphore(0)
        self.error: Exception | None = None

    def run(self, batch: Batch) -> Batch:
        self.entered.release()
        while not self.is_open and not self.permits.acquire(timeout=0.02):
            pass
        if self.error is not None:
            raise self.error
        return super().run(batch)

    def open(self) -> None:
        self.is_open = True


def restorer_on(session: Session, *, faces: bool = False, **changes: Any) -> Restorer:
    """changes: of RestoreOptions"""
    options = RestoreOptions(sharing="fair", **changes)
    return Restorer.from_session(session, options=options, faces=face_stage() if faces else None)


def face_stage() -> FaceStage:
    """Finds one face in the upper left corner of every photo, which is inverted."""
    restorer = FaceRestorer(FaceSession())
    return FaceStage(FixedDetector([_FACE]), lambda _io: restorer, options=FaceOptions())


def service_on(restorer: Restorer | Session, **options: Any) -> Service:
    """A service whose models are open."""
    serve_options = ServeOptions(page=False, port=0, **options)
    pool = ModelPool(serve_options)
    pool.adopt(restorer if isinstance(restorer, Restorer) else restorer_on(restorer))
    return Service(serve_options, models=pool)


@dataclass(frozen=True)
class Running:
    """A service in a server of its own thread. address: such as "127.0.0.1:8000" """

    service: Service
    address: str
    loop: asyncio.AbstractEventLoop

    @property
    def base(self) -> str:
        return f"http://{self.address}"

    def call(self, work: Callable[[], T]) -> T:
        """What `work` returns in the thread of the service."""

        async def call() -> T:
            return work()

        return self.wait_for(call())

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that runs in the loop of the service."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Fill the queue, of one request, within the block."""
        held = self.service.queue.admit(ANONYMOUS, request_id="held")
        self.call(held.__enter__)
        try:
            yield
        finally:
            self.call(lambda: held.__exit__(None, None, None))


@contextlib.contextmanager
def running(service: Service, *, v2: bool = False, wait: bool = True) -> Iterator[Running]:
    """Run the service until the block ends. wait: until it is ready"""
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve([listener])

    with listen(service.options) as listener:
        server = make_server(service, v2=v2)
        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            if wait:
                until(lambda: service.opened.is_set())
                assert service.failure is None, service.failure
            yield Running(service, f"127.0.0.1:{listener.getsockname()[1]}", loops[0])
        finally:
            server.should_exit = True
            thread.join(WAIT_S)
            assert not thread.is_alive()


@contextlib.contextmanager
def serving(service: Service, *, wait: bool = True) -> Iterator[httpx.Client]:
    """A client for a running service."""
    with (
        running(service, wait=wait) as found,
        httpx.Client(base_url=found.base, timeout=WAIT_S) as client,
    ):
        yield client


def until(holds: Callable[[], object]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def picture(width: int = 24, height: int = 16, *, format_: str = "png", level: int = 90) -> bytes:
    """The bytes of a photo with a gradient."""
    pixels = np.full((height, width, 3), level, np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    stream = io.BytesIO()
    write_photo(Photo(pixels), stream, format=format_)  # type: ignore[arg-type]
    return stream.getvalue()


def problem_in(answer: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer, whose form is checked."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found: dict[str, Any] = answer.json()
    assert found["status"] == answer.status_code
    assert found["type"] == f"/problems/{found['code']}"
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["detail"]
    return found


def tokens_file(folder: Path, *lines: str) -> Path:
    path = folder / "tokens"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextlib.contextmanager
def command(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server of its own process that is ready, and a client for it."""
    (folder / "tiny.onnx").write_bytes(tiny_artifact().onnx)
    process = start(folder, "serve", "-n", "tiny.onnx", "--backend", "cpu", "--no-faces",
                    "--port", "0", "--no-page", *words)  # fmt: skip
    try:
        assert process.stderr is not None
        address = None
        for line in process.stderr:
            found = re.search(r"listening at (http://\S+)", line)
            address = found[1] if found else address
            if line.strip() == "ready":
                break
        assert address is not None
        with httpx.Client(base_url=address, timeout=WAIT_S) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()
