"""A process that restores photos on one device, seen from the process that owns the run."""

from __future__ import annotations

import contextlib
import logging
import pickle
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

from restora import errors
from restora.child import Child
from restora.errors import RestoraError, SessionError
from restora.jobs.blame import MAX_CRASHES
from restora.jobs.device_child import DeviceSetup, Failed, Finished, Logged, Opened
from restora.jobs.plan import Job

_SERVE = "restora.jobs.device_child:serve"


class DeviceWorker:
    """One process.

    running: jobs that it was given and has not ended, by source
    ready: whether it asked for a job
    opened: facts about its networks, once they are open; finished: its last message
    """

    def __init__(self, setup: DeviceSetup) -> None:
        self.setup = setup
        self.running: dict[Path, Job] = {}
        self.ready = False
        self.opened: Opened | None = None
        self.finished: Finished | None = None
        self._child = Child(_SERVE, keeps_output=True)
        self.connection = self._child.connection
        with contextlib.suppress(OSError):  # it died at once; receiving shows it
            self.connection.send_bytes(pickle.dumps(setup))

    @property
    def device(self) -> str:
        return self.setup.device

    @property
    def has_room(self) -> bool:
        """Whether it waits for a job, and runs none that must be alone."""
        return self.ready and not any(job.alone for job in self.running.values())

    def give(self, job: Job) -> None:
        self.ready = False
        self.running[job.source] = job
        self.tell(job)

    def tell(self, message: object) -> None:
        with contextlib.suppress(OSError):  # it died; receiving shows it
            self.connection.send(message)

    def receive(self) -> object | None:
        """Its next message, None if it died. Raises the error that it failed with."""
        try:
            message: object = self.connection.recv()
        except (EOFError, OSError):
            return None
        if isinstance(message, Failed):
            raise _error_from(message, self)
        if isinstance(message, Opened):
            self.opened = message
        elif isinstance(message, Logged):
            name, level, words = message
            logging.getLogger(name).log(level, "%s: %s", self.device, words)
        elif isinstance(message, Finished):
            self.finished = message
        return message

    def kill(self) -> None:
        self._child.kill()


def open_workers(setups: Sequence[DeviceSetup]) -> list[DeviceWorker]:
    """A process for each device, all with open networks.

    Raises what opening the networks raises there, for the first device that fails; SessionError if
    a process dies again and again, or if devices would give different results.
    """
    workers = [DeviceWorker(setup) for setup in setups]
    try:
        crashes = dict.fromkeys((worker.device for worker in workers), 0)
        while left := {w.connection: w for w in workers if w.opened is None}:
            for connection in wait(list(left)):
                worker = left[connection]  # type: ignore[index]
                if worker.receive() is None:
                    crashes[worker.device] += 1
                    workers[workers.index(worker)] = replace_worker(worker, crashes[worker.device])
        for worker in workers:
            require_same(workers[0], worker)
    except BaseException:
        for worker in workers:
            worker.kill()
        raise
    return workers


def replace_worker(worker: DeviceWorker, crashes: int) -> DeviceWorker:
    """Start a process in the place of one that died. crashes: how often that happened without a
    photo. Raises SessionError after too many."""
    worker.kill()
    if crashes >= MAX_CRASHES:
        raise SessionError(
            f"{worker.device}: {crashes} processes died before they began a photo: the networks "
            f"cannot be opened there; try --gpu-id {worker.device.removeprefix('gpu:')}"
        )
    return DeviceWorker(worker.setup)


def require_same(first: DeviceWorker, other: DeviceWorker) -> None:
    """Raise SessionError if results of the two would differ: in precision, say."""
    assert first.opened is not None
    assert other.opened is not None
    if other.opened.settings != first.opened.settings:
        raise SessionError(
            f"{first.device} and {other.device} would give different results, "
            f"{_describe(first.opened)} and {_describe(other.opened)}: give --precision, or leave "
            "one out"
        )


def _describe(opened: Opened) -> str:
    return "; ".join(network.describe() for network in opened.networks)


def _error_from(failed: Failed, worker: DeviceWorker) -> RestoraError:
    kind = getattr(errors, failed.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, RestoraError)):
        kind = SessionError
    return kind(f"{worker.device}: {failed.message}")
