"""Run one job with the service's networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from restora.errors import DeviceLostError, MissingBackendError, OptionError
from restora.image import PhotoLimits
from restora.jobs.disk import is_folder
from restora.jobs.folder import restore_folder
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job as PhotoJob
from restora.jobs.progress import NoProgress
from restora.networks import OpenNetwork
from restora.pipeline import Restorer
from restora.serve.jobs.job import Job
from restora.serve.jobs.roots import Roots

AddRow = Callable[[dict[str, Any]], None]

_LOST = DeviceLostError.__name__


def run_folder(
    job: Job,
    roots: Roots,
    restorer: Restorer,
    *,
    limits: PhotoLimits,
    memory: int | None,
    add_row: AddRow,
    note_progress: Callable[[], None],
) -> bool:
    """Restore a folder, with the journal of `restora restore`: what is done there already is
    skipped. Returns whether all of it was done.

    memory: see RunOptions; add_row: takes the result of each file; note_progress: called when the
        fraction of the job has changed

    Raises what restore_folder raises, DeviceLostError if the GPU was lost, and ForbiddenError if a
    photo is a link out of its root.
    """
    source, output = roots.resolve(job.request.input), roots.resolve(job.request.output)
    if not is_folder(source):
        raise OptionError(f"the input must be a folder, {job.request.input} is none")
    result = restore_folder(
        source,
        output,
        restorer,
        options=job.request.run_options(limits=limits, memory=memory),
        progress=_FolderProgress(job, roots, add_row, note_progress),
        stop=lambda: job.stop or job.pause,
    )
    job.failed = len(result.failures)
    lost = next((one for one in result.failures if one.error_type == _LOST), None)
    if lost is not None:
        raise DeviceLostError(lost.reason)
    return not result.stopped


def run_video(
    job: Job,
    roots: Roots,
    restorer: Restorer,
    *,
    memory: int | None,
    add_row: AddRow,
    note_progress: Callable[[], None],
) -> bool:
    """Restore a video; segments that an earlier try finished are kept. See run_folder.

    Raises what restore_video raises, and MissingBackendError without PyAV.
    """
    try:
        from restora.video.restore import restore_video
    except ImportError as error:
        raise MissingBackendError("videos need PyAV: pip install 'restora[video]'") from error
    source, output = roots.resolve(job.request.input), roots.resolve(job.request.output)

    def progress(done: int, total: int | None) -> None:
        job.done, job.total = done, total
        job.fraction = min(1.0, done / total) if total else 0.0
        note_progress()

    result = restore_video(
        source,
        output,
        restorer,
        options=job.request.video_options(memory=memory),
        progress=progress,
        stop=lambda: job.stop or job.pause,
    )
    if result is None:
        return False
    job.done, job.fraction = result.frames, 1.0
    row: dict[str, Any] = {
        "input": job.request.input, "output": roots.name_of(str(output)), "status": "restored",
        "frames": result.frames, "left_out": list(result.left_out),
        "faults": [roots.rename(fault) for fault in result.faults],
    }  # fmt: skip
    add_row(row)
    return True


class _FolderProgress(NoProgress):
    def __init__(
        self, job: Job, roots: Roots, add_row: AddRow, note_progress: Callable[[], None]
    ) -> None:
        self._note_progress = note_progress
        self._job = job
        self._roots = roots
        self._add_row = add_row
        self._weight = self._ended = 0  # pixels of all photos, and of those that have ended
        self._parts: dict[Path, float] = {}  # pixels that are done of those in progress

    def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[PhotoJob]) -> None:
        del networks
        for job in jobs:  # the folder was checked, but not what its files are links to
            self._roots.require_inside(job.source)
        self._job.total = len(jobs)
        self._weight = sum(map(_weigh, jobs))

    def update(self, job: PhotoJob, done: int, total: int) -> None:
        self._parts[job.source] = _weigh(job) * done / max(1, total)
        self._show()

    def end(self, job: PhotoJob, outcome: Outcome) -> None:
        self._parts.pop(job.source, None)
        self._ended += _weigh(job)
        if outcome.status == "failed":
            self._job.failed += 1
        elif outcome.status == "skipped":
            self._job.skipped += 1
        else:
            self._job.done += 1
        self._show()
        self._add_row(_row_of(outcome, self._roots))

    def _show(self) -> None:
        if self._weight:
            done = self._ended + sum(self._parts.copy().values())
            self._job.fraction = min(1.0, done / self._weight)
            self._note_progress()


def _weigh(job: PhotoJob) -> int:
    return max(1, job.pixels)


def _row_of(outcome: Outcome, roots: Roots) -> dict[str, Any]:
    """Without paths of the server."""
    row = outcome.as_row()
    for name in ("input", "output"):
        row[name] = roots.name_of(row[name])
    for name in ("reason", "face_error"):
        if name in row:
            row[name] = roots.rename(row[name])
    return row
