"""Restore many files: the next one is decoded and the last one encoded while the network runs."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from restora.cli.exits import ExitCode, exit_code_of
from restora.cli.jobs import Job, prepare_folder
from restora.cli.ledger import Ledger
from restora.cli.outcome import Outcome
from restora.cli.stopping import Stopping
from restora.errors import DeviceLostError, DiskFullError, RestoraError
from restora.image import Photo, PixelLimits, make_comparison, read_photo, write_photo
from restora.joint import FaceOutcome
from restora.pipeline import Restoration, Restorer
from restora.runs.resume import digest_of_file

FileProgress = Callable[[Job, int, int], None]

# errors after which nothing else can be done, and what is said of the files that were not tried
_ENDING = {DiskFullError.__name__: "the disk is full", DeviceLostError.__name__: "the GPU is lost"}
_WRITES_BEHIND = 2  # results that may wait for the encoder, so that memory stays bounded


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How results are written. root: the folder that nothing may leave; suffix: of the files of
    restored faces."""

    root: Path
    quality: int = 95
    strip_metadata: bool = False
    compare: bool = False
    save_faces: bool = False
    suffix: str = ""


def run_jobs(
    jobs: list[Job],
    restorer: Restorer,
    *,
    outscale: float | None,
    limits: PixelLimits,
    writing: WriteOptions,
    stop_at_error: bool,
    progress: FileProgress,
    aligned: bool = False,
    ledger: Ledger | None = None,
    stopping: Stopping | None = None,
) -> Iterator[Outcome]:
    """Yield one outcome per job, in the order in which they finish.

    aligned   photos are aligned faces
    progress  called with (job, output pixels done, output pixels in all) while a file is restored
    ledger    where every beginning and end is written down
    stopping  looked at before each file; what is begun is finished, the rest is not yielded

    A full disk or a lost GPU ends the run: what is not done yet is yielded as failed.
    """
    waiting = [job for job in jobs if job.skip is None]
    for job in jobs:
        if job.skip is not None:
            yield skipped(job)

    def decode(job: Job) -> Photo:
        if ledger is not None:
            ledger.begin(job)
        return read_photo(job.source, limits=limits)

    def restore(job: Job, photo: Photo) -> Restoration:
        if aligned:
            return restorer.restore_aligned(photo)
        return restorer.restore(photo, outscale=outscale, progress=partial(progress, job))

    with (
        ThreadPoolExecutor(1, thread_name_prefix="restora-decode") as decoder,
        ThreadPoolExecutor(1, thread_name_prefix="restora-encode") as encoder,
    ):
        writes: list[Future[Outcome]] = []
        decoded: Future[Photo] | None = None
        stopped: str | None = None
        stopped_code = 1
        for index, job in enumerate(waiting):
            if stopped is not None:
                source, target = str(job.source), str(job.target)
                yield Outcome(source, target, "failed", stopped, exit_code=stopped_code)
                continue
            if stopping:
                break
            if job.alone:
                # if it kills the process, nothing else is to blame
                yield from (_ended(write.result(), ledger) for write in writes)
                writes.clear()
            current = decoded or decoder.submit(decode, job)
            following = waiting[index + 1] if index + 1 < len(waiting) else None
            apart = following is None or job.alone or following.alone
            decoded = None if apart or following is None else decoder.submit(decode, following)
            started = time.perf_counter()
            try:
                photo = current.result()
                prepare_folder(job.target, writing.root)
                result = restore(job, photo)
                outcome = None
            except RestoraError as error:
                outcome = failed(job, error)
            except MemoryError:
                outcome = failed(job, RestoraError("not enough memory: try a smaller --tile"))
            else:
                writes.append(encoder.submit(_write, job, photo, result, started, writing))
            finished = [] if outcome is None else [outcome]
            while writes and (
                len(writes) > _WRITES_BEHIND or writes[0].done() or not following or job.alone
            ):
                finished.append(writes.pop(0).result())
            for done in finished:
                yield _ended(done, ledger)
                if done.error_type in _ENDING:
                    stopped = f"not tried: {_ENDING[done.error_type]}"
                    stopped_code = done.exit_code
                elif done.status == "failed" and stop_at_error:
                    stopped = "not tried: stopped at the first error"
        for write in writes:
            yield _ended(write.result(), ledger)


def _ended(outcome: Outcome, ledger: Ledger | None) -> Outcome:
    if ledger is not None:
        ledger.end(outcome)
    return outcome


def _write(
    job: Job, before: Photo, result: Restoration, started: float, writing: WriteOptions
) -> Outcome:
    after = result.photo
    try:
        if writing.compare:
            path = job.target.with_name(f"{job.target.stem}_compare.jpg")
            write_photo(make_comparison(before, after), path, quality=90, inside=writing.root)
        if writing.save_faces:
            _write_faces(job, result.faces, writing)
        write_photo(
            after,
            job.target,
            quality=writing.quality,
            strip_metadata=writing.strip_metadata,
            inside=writing.root,
        )
    except RestoraError as error:
        return failed(job, error)
    return Outcome(
        str(job.source),
        str(job.target),
        "restored",
        input_size=(before.width, before.height),
        output_size=(after.width, after.height),
        model=result.model,
        seconds=round(time.perf_counter() - started, 3),
        faces=None if result.face_model is None else tuple(f.as_row() for f in result.faces),
        face_error=result.face_error,
        sha256=digest_of_file(job.target),
    )


def _write_faces(job: Job, faces: Iterable[FaceOutcome], writing: WriteOptions) -> None:
    """cropped_faces, restored_faces and cmp, named as the published script names them."""
    ending = f"_{writing.suffix}" if writing.suffix else ""
    for index, face in enumerate(faces):
        if face.crop is None or face.restored is None:
            continue
        name = f"{job.target.stem}_{index:02d}"
        pictures = {
            f"cropped_faces/{name}.png": face.crop,
            f"restored_faces/{name}{ending}.png": face.restored,
            f"cmp/{name}.png": np.concatenate((face.crop, face.restored), axis=1),
        }
        for path, pixels in pictures.items():
            target = writing.root / path
            prepare_folder(target, writing.root)
            write_photo(Photo(pixels), target, inside=writing.root)


def skipped(job: Job) -> Outcome:
    return Outcome(str(job.source), str(job.target), "skipped", job.skip)


def failed(job: Job, error: RestoraError) -> Outcome:
    return Outcome(
        str(job.source),
        str(job.target),
        "failed",
        str(error),
        type(error).__name__,
        exit_code=int(exit_code_of(error)),
    )


def exit_code_of_run(outcomes: list[Outcome]) -> ExitCode:
    """0 if nothing failed; 3 if some photos or faces did; if all photos did, the code of what went
    wrong, else 4."""
    failures = [outcome for outcome in outcomes if outcome.status == "failed"]
    if not failures:
        done = all(outcome.complete for outcome in outcomes)
        return ExitCode.OK if done else ExitCode.SOME_FAILED
    if len(failures) < len(outcomes):
        return ExitCode.SOME_FAILED
    codes = {outcome.exit_code for outcome in failures}
    if len(codes) == 1 and codes <= {ExitCode.MODEL, ExitCode.ENVIRONMENT, ExitCode.USAGE}:
        return ExitCode(codes.pop())
    return ExitCode.ALL_FAILED
