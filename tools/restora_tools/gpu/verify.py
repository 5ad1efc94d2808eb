"""Stage `verify`: what doubles cannot prove, on the GPU itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from restora.artifact import Precision, measure_psnr
from restora.backends.base import Batch
from restora.backends.tensorrt.session import TensorRTSession
from restora.errors import RestoraError
from restora.tiling import Tiling, run_tiles
from restora_benchmarks.pictures import make_pictures
from restora_tools.gpu.machine import Modules
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.sessions import open_checked
from restora_tools.gpu.subjects import Subject

LEAK_BYTES = 64 << 20  # the driver keeps a little of its own
_OPENINGS = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, whether it did, and the figure."""

    name: str
    passed: bool
    detail: str


def verify(
    modules: Modules,
    places: Places,
    subjects: Sequence[Subject],
    precisions: Sequence[Precision],
    report: Callable[[str], None],
) -> bool:
    """True if all checks hold. Whatever fails becomes a row and does not end the stage."""
    passed = True
    for subject in subjects:
        for precision in places.offered(subject, precisions):
            try:
                checks = list(_check(modules, places, subject, precision))
            except RestoraError as error:
                checks = [Check("runs", passed=False, detail=str(error))]
            rows: list[Row] = [
                {
                    "model": subject.name,
                    "precision": precision,
                    "check": check.name,
                    "passed": check.passed,
                    "detail": check.detail,
                }
                for check in checks
            ]
            places.add_rows("verify", rows, key=("model", "precision", "check"))
            failed = [check for check in checks if not check.passed]
            passed = passed and not failed
            words = "; ".join(f"{check.name}: {check.detail}" for check in failed) or "all hold"
            report(f"{subject.name}, {precision}: {len(checks)} checks, {words}")
    return passed


def _check(
    modules: Modules, places: Places, subject: Subject, precision: Precision
) -> Iterator[Check]:
    with_graphs = open_checked(modules, places, subject, precision)
    plain = open_checked(modules, places, subject, precision, graphs=False)
    try:
        batch = make_pictures(subject.shape)
        runs = [with_graphs.run(batch) for _ in range(4)]
        same = all(np.array_equal(runs[0], other) for other in runs[1:])
        yield Check("four runs are one", passed=same, detail=_distance(runs[0], runs[-1]))
        without = plain.run(batch)
        equal = np.array_equal(runs[0], without)
        yield Check("graphs change nothing", passed=equal, detail=_distance(runs[0], without))
        with ThreadPoolExecutor(4) as pool:
            threads = list(pool.map(with_graphs.run, [batch] * 8))
        equal = all(np.array_equal(runs[0], other) for other in threads)
        yield Check("threads change nothing", passed=equal, detail=_distance(runs[0], threads[-1]))
        if not subject.is_face:
            yield _check_tiles(with_graphs, subject)
        yield _check_against_fp32(modules, places, subject, with_graphs)
    finally:
        with_graphs.close()
        plain.close()
    yield _check_leaks(modules, places, subject, precision)


def _check_tiles(session: TensorRTSession, subject: Subject) -> Check:
    """Tiles cut and joined on the device, against the CPU's way with the same plans."""
    height, width = subject.side * 3 - 40, subject.side * 2 + 72
    photo = make_pictures((1, height, width, 3))[0]
    tiling = Tiling(size=subject.side, overlap=32 if subject.side > 64 else 8, fixed=True)
    multiple = session.limits.multiple
    scale = session.info.scale
    there = session.run_tiles(photo, tiling=tiling)
    here = run_tiles(photo, session.run, scale=scale, tiling=tiling, multiple=multiple)
    distance = _distance(there, here)
    # the CPU's way runs one tile at a time, so that another plan may compute it
    close = bool(np.abs(there.astype(int) - here).max() <= 1)
    return Check("tiles joined on the device are those of the CPU", passed=close, detail=distance)


def _check_against_fp32(
    modules: Modules, places: Places, subject: Subject, session: TensorRTSession
) -> Check:
    pictures = make_pictures(subject.shape)
    exact = open_checked(modules, places, subject, "fp32")
    try:
        mean, least = measure_psnr(session.run(pictures), exact.run(pictures))
    finally:
        exact.close()
    detail = f"PSNR {mean:.1f} dB mean, {least:.1f} least"
    return Check("near the FP32 plan", passed=mean >= 50 and least >= 45, detail=detail)


def _check_leaks(modules: Modules, places: Places, subject: Subject, precision: Precision) -> Check:
    """Open, run and close a few times: the first time loads what stays."""
    free = []
    batch = make_pictures(subject.shape)
    device = modules.open_device()
    for _ in range(_OPENINGS):
        session = open_checked(modules, places, subject, precision)
        for _ in range(3):
            session.run(batch)
        session.close()
        with device.current():
            free.append(int(modules.cuda.mem_get_info()[0]))
    device.close()
    lost = free[0] - free[-1]
    detail = f"{lost / 2**20:.1f} MiB less free after {_OPENINGS - 1} more openings"
    return Check("closing frees everything", passed=lost <= LEAK_BYTES, detail=detail)


def _distance(one: Batch, other: Batch) -> str:
    difference = np.abs(one.astype(np.int64) - other.astype(np.int64))
    return f"{int(difference.max())} levels at most, {float((difference > 0).mean()):.4%} differ"
