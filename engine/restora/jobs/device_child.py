"""The process that restores photos on one device for restora.jobs.device_flow.

It asks for one photo after another, as far as its networks and its memory have room for them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from restora.errors import OptionError, RestoraError
from restora.image import PhotoLimits
from restora.jobs.extras import Extras
from restora.jobs.memory import PhotoMemory
from restora.jobs.outcome import Outcome
from restora.jobs.output import WriteOptions
from restora.jobs.photo_flow import PhotoFlow, Stages
from restora.jobs.plan import Job
from restora.jobs.stage import StageStats
from restora.malloc import return_freed_memory
from restora.networks import OpenNetwork
from restora.pipeline import Restorer

_PROGRESS_S = 0.1  # between two reports of a photo


@dataclass(frozen=True, slots=True)
class DeviceSetup:
    """How photos are restored.

    opener: a pickled function that opens a Restorer, called with device=
    root, quality, strip_metadata: see WriteOptions; hash_sources: see PhotoFlow
    memory: limit of this process and its decoders in bytes; None: its share of half of the free
        memory is for photos
    processes: that share the machine
    log_level: of messages that are reported
    """

    device: str
    opener: bytes
    root: Path | None = None
    quality: int = 95
    strip_metadata: bool = False
    outscale: float | None = None
    aligned: bool = False
    limits: PhotoLimits = field(default_factory=PhotoLimits)
    hash_sources: bool = False
    memory: int | None = None
    processes: int = 1
    log_level: int = logging.WARNING


class Stop(NamedTuple):
    """A request: begin no photo, and drop those that are only decoded."""


class Opened(NamedTuple):
    """The networks are open."""

    networks: tuple[OpenNetwork, ...]
    settings: dict[str, object]
    scale: int
    restores_faces: bool


class Ready(NamedTuple):
    """There is room for one more photo."""


class Part(NamedTuple):
    """Output pixels of a photo that are done, and all of them."""

    source: Path
    done: int
    total: int


class Ended(NamedTuple):
    """A photo is restored, or failed."""

    source: Path
    outcome: Outcome


class Logged(NamedTuple):
    """A message of the library."""

    name: str
    level: int
    message: str


class Failed(NamedTuple):
    """An error that is no photo's fault ended this process; kind: its type's name."""

    kind: str
    message: str


class Finished(NamedTuple):
    """No photo is left."""

    stages: Mapping[str, StageStats]
    networks: tuple[OpenNetwork, ...]


def serve(connection: Connection[Any, Any]) -> None:
    """Receive a DeviceSetup, answer Opened, and Ready for each photo that there is room for.
    Receive jobs, Stop, and None after the last one."""
    channel = _Channel(connection)
    try:
        setup: DeviceSetup = pickle.loads(connection.recv_bytes())  # noqa: S301
        logging.basicConfig(level=setup.log_level, handlers=[_Log(channel)], force=True)
        if setup.memory is not None:
            return_freed_memory()
        with _open(setup) as restorer:
            threading.Thread(target=channel.listen, daemon=True).start()
            memory = PhotoMemory(restorer, setup.memory, setup.processes)
            faces = restorer.faces is not None
            settings = restorer.output_settings()
            channel.send(Opened(restorer.networks, settings, restorer.scale, faces))
            channel.send(_restore_all(setup, restorer, memory, channel))
    except RestoraError as error:
        channel.send(Failed(type(error).__name__, str(error)))
    except Exception as error:  # noqa: BLE001  the parent raises it
        channel.send(Failed(RestoraError.__name__, f"{type(error).__name__}: {error}"))


def _open(setup: DeviceSetup) -> Restorer:
    try:
        opener = pickle.loads(setup.opener)  # noqa: S301
    except (pickle.UnpicklingError, ImportError, AttributeError) as error:
        raise OptionError(
            f"the function that opens a Restorer cannot be imported in another process: {error}"
        ) from error
    restorer: Restorer = opener(device=setup.device)
    return restorer


def _restore_all(
    setup: DeviceSetup, restorer: Restorer, memory: PhotoMemory, channel: _Channel
) -> Finished:
    extras: dict[Path, Extras] = {}
    stages = Stages.around(restorer, processes=setup.processes)
    reported: dict[Path, float] = {}

    def progress(job: Job, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - reported.get(job.source, 0.0) >= _PROGRESS_S:
            reported[job.source] = now
            channel.send(Part(job.source, done, total))

    def jobs() -> Iterator[Job]:
        while (job := channel.next_job()) is not None:
            extras[job.target] = job.extras
            yield job

    flow: PhotoFlow[Job] = PhotoFlow(
        restorer,
        stages,
        WriteOptions(setup.root, setup.quality, setup.strip_metadata, extras),
        memory,
        outscale=setup.outscale,
        aligned=setup.aligned,
        limits=setup.limits,
        hash_sources=setup.hash_sources,
        progress=progress,
        header_of=lambda job: job.known_header,
    )
    with contextlib.closing(flow.iter_outcomes(jobs(), stop=channel.stopping.is_set)) as outcomes:
        for job, outcome in outcomes:
            extras.pop(job.target, None)
            reported.pop(job.source, None)
            channel.send(Ended(job.source, outcome))
    return Finished(stages.stats(), restorer.networks)


class _Channel:
    """The pipe to the parent. A thread listens, so that a Stop is taken while photos are restored,
    and the process ends when its parent does."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.stopping = threading.Event()
        self._connection = connection
        self._sending = threading.Lock()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()

    def send(self, message: object) -> None:
        with self._sending:
            try:
                self._connection.send(message)
            except OSError:
                os._exit(1)

    def next_job(self) -> Job | None:
        """Ask for a job and wait for it; None after the last one."""
        self.send(Ready())
        return self._jobs.get()

    def listen(self) -> None:
        while True:
            try:
                message: Job | Stop | None = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)
            if isinstance(message, Stop):
                self.stopping.set()
            else:
                self._jobs.put(message)


class _Log(logging.Handler):
    """Sends messages of restora's own."""

    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("restora"):
            self._channel.send(Logged(record.name, record.levelno, record.getMessage()))
