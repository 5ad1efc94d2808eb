"""Stage `photos`: whole photos from host memory to host memory, as a program restores them."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor

from restora.backends.base import Batch
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.session import TensorRTSession
from restora.errors import PlanError
from restora.tiling import Tiling
from restora_benchmarks.pictures import make_pictures
from restora_tools.gpu.effort import FULL, Effort
from restora_tools.gpu.job import Job
from restora_tools.gpu.nvml import watch_gpu
from restora_tools.gpu.places import Row
from restora_tools.gpu.sessions import open_session
from restora_tools.gpu.states import StateName

_LEAST, _MOST = 4, 200  # photos of one measurement
_THREADS = 2


def measure_photos(job: Job, *, effort: Effort = FULL) -> StateName:
    """One row a size. "failed" if the kernel did not blend the tiles, or no graph was used."""
    speed = next((row for row in job.places.rows("speed") if job.is_about(row)), None)
    if speed is None:
        raise PlanError(f"run speed:{job.subject.name}:{job.precision} first")
    rows: list[Row] = []
    device = job.modules.open_device()
    pci_bus_id = device.pci_bus_id
    free_before = free_bytes(device)
    with open_session(job) as session:
        for width, height in job.subject.photos:
            row = _measure_size(session, (width, height), effort.seconds, pci_bus_id)
            pixels = speed["batch"] * speed["side"] ** 2
            # an estimate: what these pixels need at the rate of the plan for one shape
            busy_s = row["computed_mp"] * 1e6 / pixels * speed["device_ms"] / 1e3
            row["device_share"] = round(busy_s / row["seconds"], 4)
            row["memory_mib"] = round((free_before - free_bytes(device)) / 2**20)
            rows.append(job.row(**row))
            job.report(
                f"{width} x {height}: {row['mp_per_s']:.1f} MP/s, computed area "
                f"{row['computed_share']:.2f} of it"
            )
        stats = session.stats()
    job.places.add_rows("photos", rows, key=("model", "precision", "photo"))
    if stats.blended_on_cpu or not stats.graphs_launched:
        reasons = [error for error in (stats.blend_error, stats.graphs_error) if error]
        job.report("; ".join(reasons) or "no graph was launched, or the CPU blended tiles")
        return "failed"
    return "done"


def free_bytes(device: Device) -> int:
    """Memory of the GPU that nothing uses."""
    with device.current():
        return int(device.cuda.mem_get_info()[0])


def _measure_size(
    session: TensorRTSession, size: tuple[int, int], seconds: float, pci_bus_id: str
) -> Row:
    """Two threads share the session, so that copies of one photo overlap with the other's work."""
    width, height = size
    multiple = session.limits.multiple
    # an upsampler mirrors the photo up to a multiple
    photo = make_pictures((1, height + -height % multiple, width + -width % multiple, 3))[0]
    tiling = _tiling(session)

    def restore(picture: Batch) -> None:
        session.run_tiles(picture, tiling=tiling)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(restore, [photo] * 2 * _THREADS))  # allocates, and captures graphs
        started = time.perf_counter()
        restore(photo)
        one = time.perf_counter() - started
        count = min(_MOST, max(_LEAST, math.ceil(seconds / one)))
        before = session.stats()
        with watch_gpu(pci_bus_id) as watch:
            started = time.perf_counter()
            list(pool.map(restore, [photo] * count))
            elapsed = time.perf_counter() - started
    after = session.stats()
    computed = after.computed_pixels - before.computed_pixels
    return {
        "photo": f"{width}x{height}",
        "photos": count,
        "seconds": round(elapsed, 3),
        "mp_per_s": round(count * width * height / 1e6 / elapsed, 3),
        "one_photo_s": round(one, 4),
        "computed_mp": round(computed / 1e6, 4),
        "computed_share": round(computed / (count * width * height), 4),
        "graphs_launched": after.graphs_launched - before.graphs_launched,
        "plain_runs": after.plain_runs - before.plain_runs,
        "blended_on_gpu": after.blended_on_gpu - before.blended_on_gpu,
        "results_copied": after.results_copied - before.results_copied,
        "gpu_state": watch.summary(),
    }


def _tiling(session: TensorRTSession) -> Tiling:
    """The tiles that a session runs fastest, as RestoreOptions.tiling_for chooses them."""
    limits = session.limits
    return Tiling(
        size=limits.max_tile or 0,
        overlap=session.info.overlap_px,
        batch=limits.best_batch,
        shapes=limits.best_tiles,
        other_cost=limits.other_tiles_cost,
    )
