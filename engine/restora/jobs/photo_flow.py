"""Restore many photos: files are decoded and encoded while the networks run on others."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from restora.backends.cores import count_allowed_cores
from restora.errors import MemoryLimitError, RestoraError
from restora.image import Photo, PhotoHeader, PhotoLimits
from restora.image.isolated import read_isolated
from restora.jobs.disk import digest_or_none, prepare_folder
from restora.jobs.memory import PhotoMemory
from restora.jobs.outcome import Outcome, failed
from restora.jobs.output import WriteOptions, write_result
from restora.jobs.scheduler import Bounds, run_flow
from restora.jobs.stage import Stage, StageStats
from restora.networks import OpenNetwork, max_in_flight, slots_for
from restora.pipeline import Restorer
from restora.restoration import Restoration

logger = logging.getLogger(__name__)

_CORES_PER_CODER = 2
_LEAST_CODERS, _MOST_CODERS = 2, 8  # while one waits for the disk, another uses the core


class PhotoJob(Protocol):
    """One file and the path of its result. alone: nothing else may be in flight with it."""

    @property
    def source(self) -> Path: ...

    @property
    def target(self) -> Path: ...

    @property
    def alone(self) -> bool: ...


Job = TypeVar("Job", bound=PhotoJob)


def count_coders(processes: int = 1) -> int:
    """The number of threads that decode; as many encode. processes: that share the cores"""
    cores = count_allowed_cores() // processes
    return max(_LEAST_CODERS, min(_MOST_CODERS, cores // _CORES_PER_CODER))


@dataclass(frozen=True, slots=True)
class Stages:
    """The three stages of a photo."""

    decode: Stage = field(default_factory=lambda: Stage("decode", count_coders()))
    restore: Stage = field(default_factory=lambda: Stage("restore", 1))
    encode: Stage = field(default_factory=lambda: Stage("encode", count_coders()))

    @classmethod
    def around(cls, restorer: Restorer, *, processes: int = 1) -> Stages:
        coders = count_coders(processes)
        return cls(
            Stage("decode", coders),
            Stage("restore", max_in_flight(restorer.networks)),
            Stage("encode", coders),
        )

    def stats(self) -> dict[str, StageStats]:
        """Statistics of each stage, by its name."""
        return {stage.name: stage.use for stage in (self.decode, self.restore, self.encode)}

    @property
    def max_items(self) -> int:
        """The number of items in flight that keeps all stages busy."""
        return sum(s.slots.capacity for s in (self.decode, self.restore, self.encode)) + 1


@dataclass(frozen=True, slots=True)
class PhotoFlow(Generic[Job]):
    """How photos are restored.

    outscale: final enlargement; None: the network's own
    aligned: photos are aligned faces
    limits: limits of inputs
    hash_sources: whether outcomes have the SHA-256 of their inputs
    memory: budget of photos in flight
    begin: called with each job before its file is read
    progress: called with (job, output pixels done, output pixels in all)
    header_of: the header of a job's file, if it was read already
    """

    restorer: Restorer
    stages: Stages
    writing: WriteOptions
    memory: PhotoMemory
    outscale: float | None = None
    aligned: bool = False
    limits: PhotoLimits = field(default_factory=PhotoLimits)
    hash_sources: bool = False
    begin: Callable[[Job], None] | None = None
    progress: Callable[[Job, int, int], None] | None = None
    header_of: Callable[[Job], PhotoHeader | None] = lambda _: None
    _slots: dict[tuple[int, int], int] = field(default_factory=dict, init=False)

    def iter_outcomes(
        self, jobs: Iterable[Job], *, stop: Callable[[], bool] = lambda: False
    ) -> Generator[tuple[Job, Outcome], None, None]:
        """Yield one outcome per job, in the order in which they finish. A photo that cannot be
        read, restored or written has the status "failed"; no error is raised for it.

        stop: once it returns True no photo is begun, and photos that were only decoded are dropped
        """
        bounds: Bounds[Job] = Bounds(
            items=self.stages.max_items,
            memory=self.memory.budget,
            bytes_of=self._bytes_of,
            alone=lambda job: job.alone,
        )
        flow = run_flow(jobs, lambda job: self._restore_file(job, stop), bounds, stop=stop)
        with contextlib.closing(flow):
            for job, outcome in flow:
                if outcome is not None:
                    yield job, outcome

    def stats(self) -> dict[str, StageStats]:
        """Statistics of each stage."""
        return self.stages.stats()

    @property
    def networks(self) -> tuple[OpenNetwork, ...]:
        """The open networks, with what they have done."""
        return self.restorer.networks

    def _bytes_of(self, job: Job) -> int:
        header = self.header_of(job)
        return self.memory.bytes_of_file(job.source, self.outscale, self.limits, header)

    def _restore_file(self, job: Job, stop: Callable[[], bool]) -> Outcome | None:
        try:
            return self._decode_restore_encode(job, stop)
        except (RestoraError, OSError) as error:  # a full GPU is a MemoryError too
            return failed(job.source, job.target, error)
        except MemoryError:
            hint = f"{job.source}: not enough memory; try a smaller --tile or --memory"
            return failed(job.source, job.target, MemoryLimitError(hint))
        except Exception as error:
            # a bug, here or in a library, must not cost the other photos
            logger.exception("%s", job.source)
            return failed(job.source, job.target, error)

    def _decode_restore_encode(self, job: Job, stop: Callable[[], bool]) -> Outcome | None:
        stages = self.stages
        with stages.decode.running():
            started = time.perf_counter()
            if self.begin is not None:
                self.begin(job)
            if self.memory.limit is not None:
                self.memory.check(job.source, self._bytes_of(job))
            with self.memory.decoders.holding(1):
                photo = read_isolated(job.source, limits=self.limits)
            prepare_folder(job.target, self.writing.root)
            seconds = time.perf_counter() - started
        slots = self._slots_of(photo.width, photo.height)
        with stages.restore.running(slots):
            if stop():
                return None
            started = time.perf_counter()
            result = self._restore(job, photo)
            seconds += time.perf_counter() - started
        with stages.encode.running():
            started = time.perf_counter()
            digest = write_result(job.target, photo, result, self.writing)
            of_source = digest_or_none(job.source) if self.hash_sources else None
            seconds += time.perf_counter() - started
        return Outcome(
            str(job.source),
            str(job.target),
            "restored",
            input_size=(photo.width, photo.height),
            output_size=(result.photo.width, result.photo.height),
            model=result.model,
            seconds=round(seconds, 3),
            faces=None if result.face_model is None else tuple(f.as_row() for f in result.faces),
            face_error=result.face_error,
            sha256=digest,
            source_sha256=of_source,
            damage=None if result.damage is None else result.damage.as_row(),
            color=None if result.color is None else result.color.as_row(),
        )

    def _slots_of(self, width: int, height: int) -> int:
        """See slots_for; photos of one size, which are many in a folder, are cut once."""
        if (width, height) not in self._slots:
            self._slots[width, height] = slots_for(self.restorer.networks, width, height)
        return self._slots[width, height]

    def _restore(self, job: Job, photo: Photo) -> Restoration:
        if self.aligned:
            return self.restorer.restore_aligned(photo)
        report = self.progress
        told = None if report is None else lambda done, total: report(job, done, total)
        return self.restorer.restore(photo, outscale=self.outscale, progress=told)
