"""Restore many photos on several devices: a process for each takes photos from one queue."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait

from restora.errors import DeviceLostError, RestoraError
from restora.jobs.device_child import Ended, Opened, Part, Ready, Stop
from restora.jobs.device_worker import DeviceWorker, replace_worker, require_same
from restora.jobs.outcome import Outcome, failed
from restora.jobs.plan import Job
from restora.jobs.result import untried
from restora.jobs.stage import StageStats, merge_stats
from restora.networks import OpenNetwork

logger = logging.getLogger(__name__)

_LOST = DeviceLostError.__name__
_LOOK_S = 0.2  # between two looks at `stop`, while no process reports anything


class DeviceFlow:
    """What PhotoFlow does, on several devices.

    workers: with open networks; they are ended when all jobs are done
    begin: called with each job before it is given to a process
    retry: called with the jobs that a process was at when it died or lost its device; yields each
        as it is to be tried again, or failed, or skipped: its result is there
    progress: called with (job, output pixels done, output pixels in all)
    """

    def __init__(
        self,
        workers: Sequence[DeviceWorker],
        *,
        begin: Callable[[Job], None],
        retry: Callable[[Sequence[Job]], Iterable[Job]],
        progress: Callable[[Job, int, int], None],
    ) -> None:
        self._workers = list(workers)
        self._first = self._workers[0]  # a process that is started later must agree with it
        self._begin = begin
        self._retry = retry
        self._progress = progress
        self._queue: deque[Job] = deque()
        self._crashes: dict[str, int] = {}
        self._ended: list[DeviceWorker] = []

    def iter_outcomes(
        self, jobs: Iterable[Job], *, stop: Callable[[], bool] = lambda: False
    ) -> Generator[tuple[Job, Outcome], None, None]:
        """Yield one outcome per job, in the order in which they finish.

        A photo whose process dies is tried again, alone; one whose device is lost, on another one.
        If the last device is lost, its photos fail with DeviceLostError.

        stop: once it returns True no photo is begun, and photos that were only decoded are dropped
        """
        self._queue.extend(jobs)
        try:
            while self._workers and self._is_unfinished():
                if stop():
                    break
                yield from self._hand_out()
                yield from self._take_messages()
            yield from self._end(stopped=self._is_unfinished())
        finally:
            for worker in self._workers:
                worker.kill()

    def stats(self) -> dict[str, StageStats]:
        """Statistics of each stage, over all devices."""
        found = [w.finished.stages for w in self._ended if w.finished is not None]
        return merge_stats(found)

    @property
    def networks(self) -> tuple[OpenNetwork, ...]:
        """The networks of all devices, with what they have done."""
        found = [w.finished for w in self._ended if w.finished is not None]
        return tuple(network for finished in found for network in finished.networks)

    def _is_unfinished(self) -> bool:
        return bool(self._queue) or any(worker.running for worker in self._workers)

    def _hand_out(self) -> Iterator[tuple[Job, Outcome]]:
        """Give jobs to processes that ask for them, to none more than its share of all that is
        unfinished: a process could take the whole queue while another one is about to ask."""
        unfinished = len(self._queue) + sum(len(worker.running) for worker in self._workers)
        share = -(-unfinished // max(1, len(self._workers)))
        for worker in sorted(self._workers, key=lambda worker: len(worker.running)):
            while self._queue and worker.has_room and len(worker.running) < share:
                if self._queue[0].alone and worker.running:
                    break  # such jobs are the last ones
                job = self._queue.popleft()
                try:
                    self._begin(job)
                except (RestoraError, OSError) as error:
                    yield job, failed(job.source, job.target, error)
                else:
                    worker.give(job)

    def _take_messages(self) -> Iterator[tuple[Job, Outcome]]:
        by_connection = {worker.connection: worker for worker in self._workers}
        if not self._is_unfinished():
            return
        for connection in wait(list(by_connection), _LOOK_S):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                yield from self._take(worker, worker.receive())
            except RestoraError as error:
                if worker.opened is not None or len(self._workers) == 1:
                    raise
                self._leave_out(worker, error)  # it died, and cannot be opened again

    def _take(self, worker: DeviceWorker, message: object | None) -> Iterator[tuple[Job, Outcome]]:
        if message is None:
            yield from self._crashed(worker)
        elif isinstance(message, Opened):
            require_same(self._first, worker)
        elif isinstance(message, Ready):
            worker.ready = True
        elif isinstance(message, Part) and message.source in worker.running:
            self._progress(worker.running[message.source], message.done, message.total)
        elif isinstance(message, Ended) and message.source in worker.running:
            if message.outcome.error_type == _LOST:
                yield from self._lost(worker, message.outcome)
                return
            self._crashes.pop(worker.device, None)
            job = worker.running.pop(message.source)
            yield job, replace(message.outcome, device=worker.device)

    def _crashed(self, worker: DeviceWorker) -> Iterator[tuple[Job, Outcome]]:
        """Start another process on the device."""
        if not worker.running:
            self._crashes[worker.device] = self._crashes.get(worker.device, 0) + 1
        try:
            another = replace_worker(worker, self._crashes.get(worker.device, 0))
        except RestoraError as error:
            if len(self._workers) == 1:
                raise
            self._leave_out(worker, error)
        else:
            self._workers[self._workers.index(worker)] = another
        yield from self._try_again(worker)

    def _lost(self, worker: DeviceWorker, outcome: Outcome) -> Iterator[tuple[Job, Outcome]]:
        """Go on without a device; if it was the last one, its photos fail."""
        if len(self._workers) > 1:
            self._leave_out(worker, outcome.reason)
            yield from self._try_again(worker)
            return
        worker.kill()
        self._workers.remove(worker)
        for job in worker.running.values():
            source, target = str(job.source), str(job.target)
            yield job, Outcome(source, target, "failed", outcome.reason, _LOST)

    def _leave_out(self, worker: DeviceWorker, why: object) -> None:
        logger.warning("the run goes on without %s: %s", worker.device, why)
        worker.kill()
        self._workers.remove(worker)

    def _try_again(self, worker: DeviceWorker) -> Iterator[tuple[Job, Outcome]]:
        jobs = list(worker.running.values())
        worker.running.clear()
        for job in self._retry(jobs) if jobs else ():
            if job.is_left:
                self._queue.append(job)
            elif job.failure is not None:
                yield job, untried(job)
            else:  # its result was written, and only the message is lost
                source, target = str(job.source), str(job.target)
                yield job, Outcome(source, target, "restored", device=worker.device)

    def _end(self, *, stopped: bool) -> Iterator[tuple[Job, Outcome]]:
        """End all processes; those that are stopped finish what is in their networks."""
        for worker in self._workers:
            if stopped:
                worker.tell(Stop())
            worker.tell(None)
        while self._workers:
            by_connection = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(by_connection)):
                worker = by_connection[connection]  # type: ignore[index]
                message = worker.receive()
                if message is None or worker.finished is not None:
                    worker.kill()
                    self._workers.remove(worker)
                    self._ended.append(worker)
                    if message is None:
                        yield from self._try_again(worker)
                elif isinstance(message, Part | Ended):
                    yield from self._take(worker, message)
