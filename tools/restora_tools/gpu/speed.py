"""Stage `speed`: device-only and end-to-end figures of the plans, each with its accuracy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from restora.artifact import Precision, measure_psnr
from restora.backends.base import Batch
from restora.backends.tensorrt.loaded import LoadedPlan
from restora.backends.tensorrt.network import EngineRunner
from restora.backends.tensorrt.session import TensorRTSession
from restora.errors import RestoraError
from restora.tiling import Tiling, plan_tiles
from restora_benchmarks.flops import count_flops
from restora_benchmarks.pictures import make_pictures
from restora_tools.gpu.machine import Modules, read_state
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.sessions import open_checked, open_plans
from restora_tools.gpu.subjects import Subject

REPEATS = 5
_RUNS = 20  # in one measurement
_PHOTOS = 24
_THREADS = 2


def measure(
    modules: Modules,
    places: Places,
    subjects: Sequence[Subject],
    precisions: Sequence[Precision],
    report: Callable[[str], None],
    *,
    repeats: int = REPEATS,
    runs: int = _RUNS,
    photos: int = _PHOTOS,
) -> None:
    """One row for each subject and precision. Precisions of one subject take turns."""
    for subject in subjects:
        before = read_state()
        found = {
            p: _try_row(modules, places, subject, p, repeats, runs, photos)
            for p in places.offered(subject, precisions)
        }
        after = read_state()
        rows = [{**row, "state_before": before, "state_after": after} for row in found.values()]
        places.add_rows("speed", rows, key=("model", "precision"))
        for row in rows:
            report(_describe(row))


def _try_row(
    modules: Modules,
    places: Places,
    subject: Subject,
    precision: Precision,
    repeats: int,
    runs: int,
    photos: int,
) -> Row:
    try:
        return _row(modules, places, subject, precision, repeats, runs, photos)
    except RestoraError as error:
        return {"model": subject.name, "precision": precision, "error": str(error)}


def _row(
    modules: Modules,
    places: Places,
    subject: Subject,
    precision: Precision,
    repeats: int,
    runs: int,
    photos: int,
) -> Row:
    device = modules.open_device()
    with device.current():
        free = int(modules.cuda.mem_get_info()[0])
    times = time_device(modules, places, subject, precision, repeats=repeats, runs=runs)
    session = open_checked(modules, places, subject, precision)
    psnr_mean, psnr_min = _accuracy(session, places, subject)
    onnx = places.family(subject)[0].onnx
    flops = count_flops(onnx, batch=1, height=subject.side, width=subject.side) * subject.batch
    ms = statistics.median(times)
    row: Row = {
        "model": subject.name,
        "precision": precision,
        "batch": subject.batch,
        "side": subject.side,
        "device_ms": round(ms, 4),
        "device_ms_all": [round(value, 4) for value in times],
        "gflop": round(flops / 1e9, 2),
        "tflops": round(flops / ms / 1e9, 2),
        "input_mp_per_s": round(_megapixels(subject.shape) / ms * 1e3, 3),
        "psnr_mean": round(psnr_mean, 2),
        "psnr_min": round(psnr_min, 2),
    }
    if subject.is_face:
        row["faces_per_s"] = round(subject.batch / ms * 1e3, 2)
        row |= _stream_faces(session, subject, photos=photos)
    else:
        row |= _stream_photos(session, subject, photos=photos)
    with device.current():
        row["memory_mb"] = round((free - int(modules.cuda.mem_get_info()[0])) / 2**20)
    session.close()
    device.close()
    work = row.pop("stream_batches")
    row["end_to_end_share"] = round(work * ms / 1e3 / row["end_to_end_s"], 4)
    return row


def time_device(
    modules: Modules,
    places: Places,
    subject: Subject,
    precision: Precision,
    *,
    repeats: int,
    runs: int,
) -> list[float]:
    """ms of one batch on the device, through graphs, by CUDA events; one value a repeat."""
    plans, _ = open_plans(modules, places, subject, precision)
    device = plans[0].device
    cuda = device.cuda
    with device.current():
        stream = cuda.Stream()
        network = EngineRunner(device, plans, stream, driver=modules.driver)
        shape = subject.shape
        cuda.memcpy_htod_async(network.input_for(shape), make_pictures(shape), stream)
        for _ in range(5):  # the second run captures a graph
            network.enqueue(shape)
        stream.synchronize()
        begin, end = cuda.Event(), cuda.Event()
        times = []
        for _ in range(repeats):
            begin.record(stream)
            for _ in range(runs):
                network.enqueue(shape)
            end.record(stream)
            end.synchronize()
            times.append(begin.time_till(end) / runs)
        network.close()
        _drop(plans)
        del stream, begin, end, network
    device.close()
    return times


def _drop(plans: list[LoadedPlan]) -> None:
    plans.clear()


def _accuracy(session: TensorRTSession, places: Places, subject: Subject) -> tuple[float, float]:
    """PSNR against PyTorch FP32's stored answer, through the very session that is timed."""
    selfcheck = places.family(subject)[0].read_selfcheck()
    assert selfcheck is not None
    return measure_psnr(session.run(selfcheck.image), selfcheck.answer)


def _stream_photos(session: TensorRTSession, subject: Subject, *, photos: int) -> dict[str, Any]:
    """Photos from host memory to host memory, two threads, as a program would do it."""
    # sides in which tiles of the plan's size fit evenly, so that device and stream do equal work
    overlap = 32 if subject.side > 64 else 8
    side = 4 * subject.side - 3 * overlap
    tiling = Tiling(size=subject.side, overlap=overlap, fixed=True)
    photo = make_pictures((1, side, side, 3))[0]
    plan = plan_tiles(
        side, side, tiling, multiple=session.limits.multiple, scale=session.info.scale
    )
    tiles = len(plan.rows) * len(plan.cols)

    def restore(picture: Batch) -> None:
        session.run_tiles(picture, tiling=tiling)

    seconds = _time_stream(restore, [photo] * photos)
    return {
        "end_to_end_s": seconds,
        "end_to_end_mp_per_s": round(photos * side * side / 1e6 / seconds, 3),
        "photo_mp": round(side * side / 1e6, 3),
        "stream_batches": photos * tiles / subject.batch,
    }


def _stream_faces(session: TensorRTSession, subject: Subject, *, photos: int) -> dict[str, Any]:
    batch = make_pictures(subject.shape)

    def restore(faces: Batch) -> None:
        session.run(faces)

    seconds = _time_stream(restore, [batch] * photos)
    return {
        "end_to_end_s": seconds,
        "end_to_end_faces_per_s": round(photos * subject.batch / seconds, 2),
        "stream_batches": photos,
    }


def _time_stream(work: Callable[[Batch], None], items: list[Batch]) -> float:
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, items[: 2 * _THREADS]))
        started = time.perf_counter()
        list(pool.map(work, items))
        return time.perf_counter() - started


def _megapixels(shape: tuple[int, int, int, int]) -> float:
    return float(np.prod(shape[:3])) / 1e6


def _describe(row: Row) -> str:
    if "error" in row:
        return f"{row['model']}, {row['precision']}: {row['error']}"
    return (
        f"{row['model']}, {row['precision']}: {row['device_ms']:.2f} ms a batch of {row['batch']}, "
        f"{row['tflops']:.1f} TFLOP/s, end to end {row['end_to_end_share']:.2f} of it, "
        f"PSNR {row['psnr_mean']:.1f} dB"
    )
