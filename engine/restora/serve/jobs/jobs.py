"""The jobs of a service: recorded on disk, run one after another, continued after a restart."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from restora.errors import (
    ConflictError,
    DeviceLostError,
    NotFoundError,
    OutputError,
    QueueFullError,
    RestoraError,
    ServiceError,
)
from restora.jobs.memory import PhotoMemory
from restora.pipeline import Restorer
from restora.serve.jobs.job import Job, JobRequest, now
from restora.serve.jobs.roots import Roots
from restora.serve.jobs.run import run_folder, run_video
from restora.serve.jobs.store import JobStore
from restora.serve.options import ServeOptions
from restora.serve.parameters import PhotoParameters
from restora.serve.problems import Problem, problem_of
from restora.serve.tokens import Client

logger = logging.getLogger(__name__)

_MOST_QUEUED = 100
MOST_ENDED = 1000  # of each client: older ones are forgotten
MOST_RESUMED = 3  # times that a job may be continued after it has lost the GPU or ended the server
_STEP = 0.001  # progress that is recorded while a job runs, for a server that is killed
_RETRY_S = 60.0
JOBS_SHARE = 3  # of the memory for photos, a job gets one part
_PLENTY = 1 << 60


class OpensModels(Protocol):
    """What jobs need of a ModelPool."""

    def variant(self, parameters: PhotoParameters, *, large: bool) -> Restorer: ...


class Jobs:
    """The jobs of one server. Without roots there are none.

    note: is told of each error that ends a job
    """

    def __init__(
        self, options: ServeOptions, models: OpensModels, *, note: Callable[[Exception], None]
    ) -> None:
        self._note = note
        self._options = options
        self._models = models
        self.roots = Roots(options.roots)
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._capacity = 0
        self._closed = False
        self._store: JobStore | None = None
        self._thread: threading.Thread | None = None

    @property
    def enabled(self) -> bool:
        return bool(self.roots)

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def store(self) -> JobStore:
        if self._store is None:
            raise NotFoundError("this service takes no jobs: it has no roots")
        return self._store

    def start(self, capacity: int) -> None:
        """Load the jobs of earlier servers, and go on with those that have not ended.

        capacity: bytes for photos

        Raises OptionError if another server uses the same records.
        """
        if not self.enabled or self._options.state is None:
            return
        self._capacity = capacity
        self._store = JobStore(Path(self._options.state))
        for job in self._store.load():
            self._jobs[job.id] = job
            if not job.has_ended:
                self._resume(job)
        self._thread = threading.Thread(target=self._work, name="restora-jobs", daemon=True)
        self._thread.start()

    def add(self, request: JobRequest, client: Client) -> Job:
        """Record a job and let it wait for its turn.

        Raises OptionError or ForbiddenError for paths outside the roots, UnknownModelError, and
        QueueFullError if too many jobs wait.
        """
        store = self.store
        self.roots.resolve(request.input)
        self.roots.resolve(request.output)
        self._models.variant(request.photo_parameters(), large=False)
        with self._changed:
            waiting = sum(job.state == "queued" for job in self._jobs.values())
            if waiting >= _MOST_QUEUED:
                raise QueueFullError(f"{waiting} jobs wait, the limit", retry_after_s=_RETRY_S)
            self._forget_oldest(client)
            job = Job(request, client.name)
            store.save(job)
            self._jobs[job.id] = job
            self._changed.notify_all()
        return job

    def get(self, id_: str, client: Client) -> Job:
        """Raises NotFoundError for a job that is not there, or is another's."""
        job = self._jobs.get(id_)
        if job is None or job.client != client.name:
            raise NotFoundError("there is no such job")
        return job

    def of_client(self, client: Client) -> list[Job]:
        """Oldest first."""
        return [job for job in list(self._jobs.values()) if job.client == client.name]

    def cancel(self, job: Job) -> None:
        """Let a job end: the photos in progress are finished, and their results kept."""
        with self._changed:
            job.stop = True
            if job.state == "queued":
                job.end("canceled")
                self.store.save(job)

    def remove(self, job: Job) -> None:
        """Forget a job that has ended; its results stay. Raises ConflictError for any other."""
        if not job.has_ended:
            raise ConflictError("the job has not ended: cancel it first")
        with self._changed:
            self._forget(job)

    def file_of(self, job: Job, number: int) -> Path:
        """The result number `number` of a job. Raises NotFoundError if there is none."""
        row = dict(self.store.rows(job).read(number, 1)).get(number)
        if row is None or row.get("status") == "failed":
            raise NotFoundError("the job has no such result")
        path = self.roots.resolve(str(row["output"]))
        if not path.is_file():
            raise NotFoundError("the file of the result has been removed")
        return path

    def counts(self) -> Mapping[str, int]:
        return Counter(job.state for job in list(self._jobs.values()))

    def pause(self) -> None:
        """Let the running job stop, for the next server to go on with it, and begin no other."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                job.pause = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> bool:
        """Pause, and wait for the photos in progress. Returns whether they ended in time."""
        self.pause()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self.is_running:
                logger.warning("photos of a job did not end within %g s", timeout_s)
                return False
        if self._store is not None:
            self._store.close()
        return True

    def _resume(self, job: Job) -> None:
        """Let a job of an earlier server wait for its turn, unless it keeps ending servers."""
        if job.state == "running":  # its server was killed, perhaps because of what it restores
            job.killed = 1 if job.fraction > job.killed_at else job.killed + 1
            job.killed_at = job.fraction
        if job.killed > MOST_RESUMED:
            reason = (
                f"the service ended {job.killed} times while this job ran, each time at "
                f"{job.fraction:.0%}: it is not continued. Its input may take too much memory, or "
                "crash a decoder: see the log of the system"
            )
            self._fail(job, problem_of(ServiceError(reason)))
        else:
            self.store.clear_rows(job)  # before anybody reads them: they are written again
            job.state = "queued"
            job.resumed += 1
        self.store.save(job)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and self._next() is None:
                    self._changed.wait()
                job = self._next()
                if self._closed or job is None:
                    return
                job.state = "running"
            with contextlib.suppress(RestoraError):
                self._run(job)

    def _next(self) -> Job | None:
        return next((job for job in self._jobs.values() if job.state == "queued"), None)

    def _run(self, job: Job) -> None:
        job.started = job.started or now()
        job.done = job.failed = job.skipped = 0
        try:
            self.store.save(job)
            finished = self._restore(job)
            if job.stop or finished:
                job.fraction = 1.0 if finished else job.fraction
                job.end("done" if finished else "canceled")
            else:
                job.state = "queued"  # paused: the next server goes on
        except Exception as error:
            if not isinstance(error, RestoraError):
                logger.exception("the job %s failed", job.id)
            self._note(error)
            is_lost = isinstance(error, DeviceLostError)
            if is_lost:  # no job can run in this process any more
                self.pause()
            if is_lost and job.resumed < MOST_RESUMED:
                job.state = "queued"
            else:
                self._fail(job, problem_of(error))
        with self._changed:
            if job.id in self._jobs:
                self.store.save(job)

    def _fail(self, job: Job, problem: Problem) -> None:
        job.end("failed", replace(problem, detail=self.roots.rename(problem.detail)))

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        self.store.remove(job)

    def _forget_oldest(self, client: Client) -> None:
        ended = [job for job in self.of_client(client) if job.has_ended]
        for job in ended[: max(0, len(ended) - MOST_ENDED)]:
            self._forget(job)

    def _restore(self, job: Job) -> bool:
        restorer = self._models.variant(job.request.photo_parameters(), large=False)
        memory = self._memory_limit(restorer)
        recorded = job.fraction

        def note_progress() -> None:
            nonlocal recorded
            if job.fraction >= recorded + _STEP:
                recorded = job.fraction
                with contextlib.suppress(OutputError):  # the end of the job is recorded again
                    self.store.save(job)

        def add_row(row: dict[str, Any]) -> None:
            self.store.add_row(job, row)

        if job.request.kind == "folder":
            limits = self._options.limits
            return run_folder(
                job, self.roots, restorer, limits=limits, memory=memory,
                add_row=add_row, note_progress=note_progress,
            )  # fmt: skip
        return run_video(
            job, self.roots, restorer, memory=memory, add_row=add_row, note_progress=note_progress
        )

    def _memory_limit(self, restorer: Restorer) -> int | None:
        """A limit for the process that leaves the job its share of the service's memory."""
        if self._options.restore.memory is None:
            return None
        taken = _PLENTY - PhotoMemory(restorer, _PLENTY).budget.capacity
        return taken + self._capacity // JOBS_SHARE
