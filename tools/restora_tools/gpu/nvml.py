"""Clocks, temperature, power and use of the GPU, as NVML reports them. Nothing is ever set.

A GPU is found by its PCI bus id or UUID: NVML counts all GPUs of the machine, CUDA only those that
CUDA_VISIBLE_DEVICES leaves, in an order of its own.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_PERIOD_S = 0.1
Reading = dict[str, Any]


class GpuWatch:
    """Readings of the state of a GPU, taken by watch_gpu."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []

    def summary(self) -> dict[str, Any]:
        return summarize(self.readings)


@contextmanager
def watch_gpu(identity: str | None, *, period_s: float = _PERIOD_S) -> Iterator[GpuWatch]:
    """Read the state of a GPU, in a thread, until the block ends.

    identity: PCI bus id ("0000:0B:00.0") or UUID ("GPU-..."); None if it is not known
    """
    read, watch, stop = _reader(identity), GpuWatch(), threading.Event()

    def keep_reading() -> None:
        while True:
            watch.readings.append(read())
            if stop.wait(period_s) or "error" in watch.readings[-1]:
                return

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(keep_reading)
        try:
            yield watch
        finally:
            stop.set()
        reading.result()


def summarize(readings: Sequence[Reading]) -> dict[str, Any]:
    """`sm_mhz`, `memory_mhz`, `celsius`, `watt` and `busy` (share of time with work on the GPU),
    [least, median, most] each, and all reasons for lower clocks; or `not_measured` and why."""
    errors = [reading["error"] for reading in readings if "error" in reading]
    if errors:
        return {"not_measured": errors[0]}
    found: dict[str, Any] = {"readings": len(readings)}
    for name in ("sm_mhz", "memory_mhz", "celsius", "watt", "busy"):
        values = [reading[name] for reading in readings]
        found[name] = [min(values), round(statistics.median(values), 3), max(values)]
    held = 0
    for reading in readings:
        held |= reading["throttle_reasons"]
    return {**found, "throttle_reasons": held}


def _reader(identity: str | None) -> Callable[[], Reading]:
    """A function that reads the state once; it gives {"error": why} where that is not possible."""
    if identity is None:
        return lambda: {"error": "it is not known which GPU of NVML this is"}
    try:
        import pynvml
    except ImportError:
        return lambda: {"error": "nvidia-ml-py is not installed"}
    try:
        pynvml.nvmlInit()
        by_uuid = identity.startswith("GPU-")
        find = pynvml.nvmlDeviceGetHandleByUUID if by_uuid else pynvml.nvmlDeviceGetHandleByPciBusId
        handle = find(identity)
    except pynvml.NVMLError as error:
        words = f"NVML does not find {identity}: {error}"
        return lambda: {"error": words}

    def read() -> Reading:
        try:
            return {
                "sm_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
                "memory_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
                "celsius": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
                "watt": round(pynvml.nvmlDeviceGetPowerUsage(handle) / 1000, 1),
                "busy": pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
                "throttle_reasons": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
            }
        except pynvml.NVMLError as error:
            return {"error": f"NVML does not read the state of {identity}: {error}"}

    return read
