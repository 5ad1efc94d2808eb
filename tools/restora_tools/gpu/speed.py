"""Stage `speed`: the time of a batch on the device, with its accuracy."""

from __future__ import annotations

import statistics

import numpy as np

from restora.artifact import measure_psnr
from restora.backends.tensorrt.open import load_plans
from restora.backends.tensorrt.profiles import Profile
from restora_benchmarks.flops import count_flops
from restora_tools.gpu.build import describe_profile
from restora_tools.gpu.device_time import DeviceTime, time_batches
from restora_tools.gpu.effort import FULL, Effort
from restora_tools.gpu.job import Job
from restora_tools.gpu.nvml import watch_gpu
from restora_tools.gpu.places import Row
from restora_tools.gpu.sessions import Plans, open_session
from restora_tools.gpu.states import StateName


def measure(job: Job, *, effort: Effort = FULL) -> StateName:
    """One row, of the plan for the shape if it is built, else of the plan for all sizes.

    "failed" if no graph was launched: the figure would be of another way.
    """
    plans, modules, subject = Plans(job), job.modules, job.subject
    built = plans.built()
    chosen = plans.get(built[-1:])
    with watch_gpu(plans.device.pci_bus_id) as watch:
        time = time_batches(
            modules, lambda: load_plans(modules.trt, plans.device, chosen), subject.shape, effort
        )
    flops = count_flops(plans.master.onnx, batch=1, height=subject.side, width=subject.side)
    row = job.row(
        batch=subject.batch,
        side=subject.side,
        plan=describe_profile(built[-1]),
        **figures_of(time, subject.shape, flops * subject.batch),
        gpu_state=watch.summary(),
        **_accuracy(job, built),
    )
    if subject.is_face:
        row["faces_per_s"] = round(subject.batch / time.ms * 1e3, 2)
    job.places.add_rows("speed", [row], key=("model", "precision"))
    without = f"; NO GRAPHS: {time.no_graphs}" if time.no_graphs else ""
    job.report(
        f"{time.ms:.2f} ms a batch of {subject.batch}, {row['tflops']:.1f} TFLOP/s, "
        f"PSNR {row['psnr_mean']:.1f} dB{without}"
    )
    return "failed" if time.no_graphs else "done"


def figures_of(time: DeviceTime, shape: tuple[int, int, int, int], flops: int) -> Row:
    """Fields of a row: times in ms, throughput, and whether graphs were used."""
    return {
        "device_ms": round(time.ms, 4),
        "device_ms_all": [round(value, 4) for value in time.graphs],
        "without_graphs_ms": round(statistics.median(time.plain), 4),
        "graphs_launched": time.graphs_launched,
        **({"no_graphs": time.no_graphs} if time.no_graphs else {}),
        "gflop": round(flops / 1e9, 3),
        "tflops": round(flops / time.ms / 1e9, 3),
        "input_mp_per_s": round(float(np.prod(shape[:3])) / time.ms / 1e3, 3),
    }


def _accuracy(job: Job, profiles: list[Profile]) -> Row:
    """PSNR against the stored answer of PyTorch in FP32."""
    selfcheck = job.places.family(job.subject)[0].read_selfcheck()
    assert selfcheck is not None  # a build without one is refused
    with open_session(job, profiles=profiles) as session:
        mean, least = measure_psnr(session.run(selfcheck.image), selfcheck.answer)
    return {"psnr_mean": round(mean, 2), "psnr_min": round(least, 2)}
