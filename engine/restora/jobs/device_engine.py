"""The engine of a run over several devices: a process for each, all with the same networks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence

import psutil

from restora.errors import OptionError
from restora.jobs.device_child import DeviceSetup
from restora.jobs.device_flow import DeviceFlow
from restora.jobs.device_worker import open_workers
from restora.jobs.devices import pickle_opener
from restora.jobs.engine import FlowCalls, FlowOptions
from restora.networks import OpenNetwork
from restora.pipeline import Restorer


class DeviceEngine:
    """A process for each of several devices, all with the same networks."""

    def __init__(
        self,
        opener: Callable[..., Restorer] | Restorer,
        devices: Sequence[str],
        options: FlowOptions,
    ) -> None:
        payload = pickle_opener(opener)
        share = None if options.memory is None else _share_of(options.memory, len(devices))
        self._workers = open_workers(
            [
                DeviceSetup(
                    device,
                    payload,
                    root=None if options.writing.root is None else options.writing.root.absolute(),
                    quality=options.writing.quality,
                    strip_metadata=options.writing.strip_metadata,
                    outscale=options.outscale,
                    aligned=options.aligned,
                    limits=options.limits,
                    hash_sources=options.hash_sources,
                    memory=share,
                    processes=len(devices),
                    log_level=logging.getLogger("restora").getEffectiveLevel(),
                )
                for device in devices
            ]
        )
        first = self._workers[0].opened
        assert first is not None
        self._first = first

    @property
    def networks(self) -> tuple[OpenNetwork, ...]:
        opened = [worker.opened for worker in self._workers]
        return tuple(network for one in opened if one is not None for network in one.networks)

    @property
    def scale(self) -> int:
        return self._first.scale

    @property
    def restores_faces(self) -> bool:
        return self._first.restores_faces

    def output_settings(self) -> Mapping[str, object]:
        return self._first.settings

    def flow(self, calls: FlowCalls) -> DeviceFlow:
        return DeviceFlow(
            self._workers, begin=calls.begin, retry=calls.retry, progress=calls.progress
        )

    def close(self) -> None:
        """End the processes, unless their flow did."""
        for worker in self._workers:
            worker.kill()


def _share_of(memory: int, processes: int) -> int:
    """What each process may take beside this one."""
    taken = int(psutil.Process(os.getpid()).memory_info().rss)
    if memory <= taken:
        raise OptionError(
            f"--memory must leave room for a process on each device: this one takes "
            f"{taken >> 20} MB, got {memory >> 20} MB"
        )
    return (memory - taken) // processes
