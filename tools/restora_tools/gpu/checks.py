"""What test doubles cannot prove: the checks of one network in one precision on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from restora.artifact import measure_psnr
from restora.backends.base import Batch
from restora.backends.tensorrt.check import PrecisionCandidate, check_gate
from restora.backends.tensorrt.session import TensorRTSession
from restora.errors import MissingModelError, PlanError, RefusedPlanError
from restora.tiling import Tiling, run_tiles
from restora_benchmarks.pictures import make_pictures
from restora_tools.gpu.job import Job
from restora_tools.gpu.photos import free_bytes
from restora_tools.gpu.sessions import Plans, open_session
from restora_tools.gpu.subjects import Subject

LEAK_BYTES = 64 << 20  # the driver keeps a little of its own
_OPENINGS = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One fact, whether it holds, and the figure. passed: None if it could not be checked."""

    name: str
    passed: bool | None
    detail: str


class Checks:
    """All checks of one subject in one precision."""

    def __init__(self, job: Job) -> None:
        self.job, self.subject = job, job.subject
        self.rung = Plans(job).candidate
        self.batch = make_pictures(job.subject.shape)

    def run(self) -> Iterator[Check]:
        with self._open() as session:
            runs = [session.run(self.batch) for _ in range(4)]
            same = all(np.array_equal(runs[0], other) for other in runs[1:])
            yield Check("four runs are one", same, _distance(runs[0], runs[-1]))
            yield self._graphs(session)
            yield self._without_graphs(runs[0])
            yield _in_threads(session, self.batch, runs[0])
            yield self._beside_a_capture(session, runs[0])
            yield self._selfcheck(session)
            if not self.subject.is_face:
                yield self._tiles(session)
                yield self._seams(session)
                yield _blending(session)
            yield from self._near_fp32(runs[0])
        yield self._leaks()

    def _open(self, *, graphs: bool = True) -> AbstractContextManager[TensorRTSession]:
        return open_session(self.job, graphs=graphs)

    def _graphs(self, session: TensorRTSession) -> Check:
        stats = session.stats()
        used = stats.graphs_captured > 0 and stats.graphs_launched > 0
        detail = f"{stats.graphs_captured} captured, launched {stats.graphs_launched} times"
        return Check("CUDA graphs are captured and used", used, stats.graphs_error or detail)

    def _without_graphs(self, expected: Batch) -> Check:
        with self._open(graphs=False) as plain:
            got = [plain.run(self.batch) for _ in range(3)][-1]  # a third run would be a graph
            launched = plain.stats().graphs_launched
        equal = np.array_equal(expected, got)
        return Check("graphs change nothing", equal and not launched, _distance(expected, got))

    def _beside_a_capture(self, session: TensorRTSession, expected: Batch) -> Check:
        """A stream that captures must not disturb another session's copies, nor they it."""
        stop, results = threading.Event(), list[bool]()

        def keep_running() -> None:
            while not stop.is_set():
                results.append(np.array_equal(session.run(self.batch), expected))

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(keep_running)
            try:
                with self._open() as other:
                    theirs = [np.array_equal(other.run(self.batch), expected) for _ in range(4)]
                    captured = other.stats().graphs_captured
            finally:
                stop.set()
            running.result()
        equal = all(theirs) and all(results)
        detail = f"{captured} graphs captured beside {len(results)} runs"
        return Check("a session runs while another one captures", equal and captured > 0, detail)

    def _selfcheck(self, session: TensorRTSession) -> Check:
        known = self.rung.artifact.read_selfcheck()
        assert known is not None  # a build without one is refused
        return _check_psnr("it passes its gate", self.rung, session.run(known.image), known.answer)

    def _tiles(self, session: TensorRTSession) -> Check:
        """Tiles cut and joined on the device, against the CPU's way with the same plans.

        The CPU's way runs one tile at a time, which another plan computes, with other tactics:
        the gate of the precision bounds how far two plans may be apart.
        """
        subject = self.subject
        photo = make_pictures((1, subject.side * 3 - 40, subject.side * 2 + 72, 3))[0]
        there, here = self._both_ways(session, photo, session.run)
        name = "tiles joined on the device are near the CPU's"
        return _check_psnr(name, self.rung, there[None], here[None])

    def _seams(self, session: TensorRTSession) -> Check:
        """The same, with every tile computed by the same plan: only rounding may differ."""
        side, count = self.subject.side, self.subject.batch
        step = side - self.subject.overlap_px
        # a row of tiles is two full batches
        photo = make_pictures((1, side + step, side + (2 * count - 1) * step, 3))[0]

        def run_full_batch(tiles: Batch) -> Batch:
            full = np.resize(tiles, (count, *tiles.shape[1:]))
            return session.run(full)[: len(tiles)]

        there, here = self._both_ways(session, photo, run_full_batch)
        close = bool(np.abs(there.astype(int) - here).max() <= 1)
        return Check("seams are blended as on the CPU", close, _distance(there, here))

    def _both_ways(
        self, session: TensorRTSession, photo: Batch, run: Callable[[Batch], Batch]
    ) -> tuple[Batch, Batch]:
        tiling = tiling_of(self.subject)
        here = run_tiles(
            photo, run, scale=session.info.scale, tiling=tiling, multiple=session.limits.multiple
        )
        return session.run_tiles(photo, tiling=tiling), here

    def _near_fp32(self, got: Batch) -> Iterator[Check]:
        """Against the FP32 plan, from whichever of the two is verified last."""
        ours = self.job.precision
        others = [p for p in self.subject.precisions() if p != "fp32"]
        for precision in others if ours == "fp32" else [ours]:
            name = f"the {precision} plan is near the FP32 plan"
            there = replace(self.job, precision=precision if ours == "fp32" else "fp32")
            try:
                rung = Plans(replace(self.job, precision=precision)).candidate
                with open_session(there) as session:
                    theirs = session.run(self.batch)
            except (PlanError, MissingModelError) as error:
                yield Check(name, None, str(error))
                continue
            yield _check_psnr(name, rung, got, theirs)

    def _leaks(self) -> Check:
        """Open, run and close a few times: the first time loads what stays."""
        free = []
        device = self.job.modules.open_device()
        for _ in range(_OPENINGS):
            with self._open() as session:
                for _ in range(3):
                    session.run(self.batch)
            free.append(free_bytes(device))
        lost = free[0] - free[-1]
        detail = f"{lost / 2**20:.1f} MiB less free after {_OPENINGS - 1} more openings"
        return Check("closing frees everything", lost <= LEAK_BYTES, detail)


def tiling_of(subject: Subject) -> Tiling:
    """Tiles of the size of the hot plan."""
    return Tiling(size=subject.side, overlap=subject.overlap_px, fixed=True, batch=subject.batch)


def _in_threads(session: TensorRTSession, batch: Batch, expected: Batch) -> Check:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(session.run, [batch] * 8))
    equal = all(np.array_equal(expected, other) for other in results)
    return Check("threads change nothing", equal, _distance(expected, results[-1]))


def _blending(session: TensorRTSession) -> Check:
    stats = session.stats()
    there = stats.blended_on_gpu > 0 and stats.blended_on_cpu == 0
    detail = f"{stats.blended_on_gpu} photos by the kernel, {stats.blended_on_cpu} by the CPU"
    return Check("tiles are blended on the GPU", there, stats.blend_error or detail)


def _check_psnr(name: str, rung: PrecisionCandidate, got: Batch, expected: Batch) -> Check:
    """Whether a batch is as near as the gate of the precision asks."""
    mean, least = measure_psnr(got, expected)
    try:
        check_gate(rung, mean, least)
    except RefusedPlanError as error:
        return Check(name, passed=False, detail=str(error))
    return Check(name, True, f"PSNR {mean:.1f} dB mean, {least:.1f} least")


def _distance(one: Batch, other: Batch) -> str:
    difference = np.abs(one.astype(np.int64) - other.astype(np.int64))
    return f"{int(difference.max())} levels at most, {float((difference > 0).mean()):.4%} differ"
