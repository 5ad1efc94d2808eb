"""The Ray cluster that a run uses, and the workers that it starts there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from restora.cluster.options import ClusterOptions
from restora.errors import MissingBackendError, OptionError


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """The workers of a run.

    workers: processes that restore; each has its own networks
    photos_per_task: photos that a worker takes at once
    cpus: cores of a worker, and its threads
    gpus: of a worker; 0: it runs on the CPU
    restarts: of each worker that dies, on average, before the run ends with an error
    """

    workers: int = 1
    photos_per_task: int = 16
    cpus: int = 1
    gpus: float = 0.0
    restarts: int = 5


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to a cluster, closed at the end unless this process had it before.

    Raises MissingBackendError if there is none, OptionError for an address where this process has
    a connection already.
    """
    if ray.is_initialized():
        if address is not None:
            raise OptionError(
                f"this process is connected to a Ray cluster already: leave out address {address}"
            )
        yield
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError, mostly
        where = "on this machine" if address is None else f"at {address}"
        raise MissingBackendError(
            f"no Ray cluster can be used {where}: start one with `ray start --head` ({error})"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def make_pool(options: ClusterOptions, *, photos: int) -> WorkerPool:
    """As many workers as the cluster and the number of photos allow, unless options say."""
    have = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = options.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if have.get("GPU") else 0.0
    room = have.get("GPU", 0) / gpus if gpus else have.get("CPU", 1) / options.cpus
    workers = options.workers or max(1, int(room))
    return WorkerPool(
        max(1, min(workers, photos)),
        options.photos_per_task,
        options.cpus,
        gpus,
        options.restarts,
    )
